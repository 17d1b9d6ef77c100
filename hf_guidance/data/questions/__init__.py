"""Rows of questions about images: their format, files, answers and boxes, and the batch."""
