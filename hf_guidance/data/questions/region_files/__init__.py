"""The layouts in which region features are published: one file each, read one image at a time."""
