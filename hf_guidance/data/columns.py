"""Names of all columns: of dataset rows, and of the batches that collators make of them.

A *row* is one entry of a dataset. An *explained row* is one (image, target) pair of a batch: a collator may make several of
a row, for an image shows several classes.
"""

from __future__ import annotations

IMPORTANCE = "importance"
"""Human importance in [0, 1], of a row and of the explained rows of a batch."""
RANDOM_IMPORTANCE = "random_importance"
"""Batch column with one fixed uniform vector for each question, the importance of controls."""
ANNOTATED = "annotated"
"""Whether a row, or an explained row, has human importance that may be used."""
TARGET = "target"
"""Batch column: the class that an explained row explains."""
ROW, SLOT = "row", "slot"
"""Batch columns: the image of an explained row, and which of that image's explained rows it is."""

IMAGE_COLUMNS = (
    "image", "pixel_values", "image_id", "labels", "label", "objects", "mask", IMPORTANCE, ANNOTATED, "group",
)  # fmt: skip
"""Columns of rows of annotated images. GuidanceCollator reads all of them but `group`, which is there for metrics."""
IMAGE_SOURCES = (IMPORTANCE, "mask", "objects")
"""Those of them that say where to look."""
QUESTION_COLUMNS = (
    "question", "question_id", "image_id", "answers", "features", "boxes", IMPORTANCE, "reference_boxes", "mask",
    "image", ANNOTATED, "question_type", "answer_type",
)  # fmt: skip
"""Columns of rows of questions. QuestionCollator reads all of them but the types, which are there for metrics."""
QUESTION_SOURCES = (IMPORTANCE, "reference_boxes", "mask")
"""Those of them that say where to look."""
KNOWN_COLUMNS = tuple(dict.fromkeys((*IMAGE_COLUMNS, *QUESTION_COLUMNS)))
"""Columns of rows of any kind, which the trainer never drops."""

HOST_COLUMNS = (ROW, SLOT, ANNOTATED)
"""Batch columns that are lists on the host, so that choosing explained rows never waits for the device."""
EXPLAINED_ROW_COLUMNS = (*HOST_COLUMNS, TARGET, IMPORTANCE, RANDOM_IMPORTANCE)
"""Batch columns with one entry for each explained row; all others have one entry for each image."""
