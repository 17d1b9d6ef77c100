"""Rows of annotated images: their format, how labels and importance are read, and the batch."""
