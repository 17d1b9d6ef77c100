"""Finds what an unknown image classifier puts out where, by calling it on noise of which parts are changed.

``places.py`` answers for one model and keeps the answers; ``discovery.py`` finds the layers "mid1" to "final",
``location.py`` the layout of an activation, ``patches.py`` the part of the image that belongs to a place. ``probe.py`` calls
the model.
"""
