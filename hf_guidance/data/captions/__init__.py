"""Captions of images: what a row is, which of its words are visual, and how rows become a batch."""
