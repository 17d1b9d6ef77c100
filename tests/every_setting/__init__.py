"""Guided training of every kind of architecture in every setting, against plain autograd in float64 on one process."""
