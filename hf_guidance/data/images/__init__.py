"""Rows of annotated images: their format, what is read off them, and the batch."""
