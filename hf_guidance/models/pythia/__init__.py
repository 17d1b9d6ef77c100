"""Pythia (arXiv 1807.09956): attention over words, boxes and a grid, fused by products; the model that SOrT trains."""
