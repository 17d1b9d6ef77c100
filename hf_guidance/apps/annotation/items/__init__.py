"""What a page asks about: an ``item`` of a kind (``map_item``, ``patch_item``), answered on a ``scale``.

``image_folder`` is what all folders have, ``folder`` that of maps and patches; ``write_maps`` and ``write_patches`` make it.
"""
