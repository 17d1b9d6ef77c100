"""Names of columns that several rooms share, of dataset rows and of the batches that collators make from them.

A *row* is one entry of a dataset. An *explained row* is one (image, target) pair of a batch: a collator may make several
from one row, because an image may show several classes.
"""

from __future__ import annotations

from hf_guidance.views.batch import IMPORTANCE

__all__ = [
    "ANNOTATED", "ANSWER", "ANSWERED", "CAPTION_COLUMNS", "CAPTION_SOURCES", "COMPARED_AS", "EXPLAINED_ROW_COLUMNS", "GROUP",
    "HOST_COLUMNS", "HUMAN_MAP", "IMAGE_COLUMNS", "IMAGE_ID", "IMAGE_SOURCES", "IMPORTANCE", "IRRELEVANT", "KNOWN_COLUMNS",
    "NO", "NO_GROUP", "QUADRANT", "QUESTION", "QUESTION_COLUMNS", "QUESTION_ID", "QUESTION_SOURCES", "RANDOM_IMPORTANCE",
    "REASONING", "ROLE", "ROW", "SAME_IMAGE", "SAVED_MAP", "SLOT", "SUB_QUESTION", "TARGET", "TIME", "TRIPLE_COLUMNS",
    "UNANSWERED", "WORD_TOKENS", "YES",
]  # fmt: skip

RANDOM_IMPORTANCE = "random_importance"
"""Batch column: one fixed uniform random vector per question, the importance that controls use."""
ANNOTATED = "annotated"
"""Column of rows and of batches: whether the row, or explained row, has human importance that may be used."""
TARGET = "target"
"""Batch column: the class that an explained row explains."""
SAVED_MAP = "saved_map"
"""Batch column: the map of a model as it was before guidance, (rows, height, width), about which people were asked."""
HUMAN_MAP = "human_map"
"""Batch column: where people looked to answer a question, (rows, height, width) in [0, 1], beside the importance of boxes."""
ANSWER = "answer"
"""Whether that model looks at the right thing: "yes", "no", "maybe" or None in rows of a dataset, one of YES, NO and
UNANSWERED per explained row in batches."""
YES, NO, UNANSWERED = 1, 0, -1
ROW, SLOT = "row", "slot"
"""Batch columns: the index of an explained row's image in the batch, and its number among the image's explained rows."""
TIME = "time"
"""Batch column of captions: the place of an explained row's word among the logits of its image, (images, times, vocabulary)."""
WORD_TOKENS = "word_tokens"
"""Batch column of captions: (rows, tokens) int64, the tokens of an explained row's word, which is one or several at successive
times; -1 behind the last one."""
QUADRANT = "quadrant"
"""Column: what people and labels said of the first model at an image, 0 to 3 (see data/images/quadrants.py); of batches
(images,) int64."""

ROLE = "role"
"""Batch column of triples of questions, one entry per question (each row of the model's inputs, as for all of them below): what
the question is in its row of the data set, one of the three numbers."""
COMPARED_AS = "compared_as"
"""Batch column of triples of questions: the role as which a question is compared with others, where it is not ``role``."""
REASONING, SUB_QUESTION, IRRELEVANT = 0, 1, 2
GROUP = "group"
"""Batch column of triples of questions: the number of a question's group, a reasoning question with its sub-question and its
irrelevant question, labelled or not; NO_GROUP where it stands alone."""
NO_GROUP = -1
ANSWERED = "answered"
"""Batch column of triples of questions: whether the row has answers to the question, in the vocabulary or not."""
QUESTION, QUESTION_ID = "question", "question_id"
"""Columns of rows of questions; of batches of triples lists of texts: the question, and the id of the reasoning question that
it belongs to, by which rows of one reasoning question are told when they are measured."""
IMAGE_ID = "image_id"
"""Column of rows; of batches of triples a list of texts, None for rows without one."""
SAME_IMAGE = "same_image"
"""Batch column, a list with a number for each question (each row of the model's inputs): equal ones are about one image."""

IMAGE_COLUMNS = (
    "image", "pixel_values", "image_id", "labels", "label", "objects", "mask", IMPORTANCE, ANNOTATED, QUADRANT, "group",
)  # fmt: skip
"""Columns of rows of annotated images. GuidanceCollator reads all of them but `group`, which metrics need."""
IMAGE_SOURCES = (IMPORTANCE, "mask", "objects")
"""Those of IMAGE_COLUMNS that hold importance."""
QUESTION_COLUMNS = (
    "question", "question_id", "image_id", "answers", "features", "boxes", IMPORTANCE, "reference_boxes", "mask",
    "image", ANNOTATED, "question_type", "answer_type", "grid_features",
)  # fmt: skip
"""Columns of rows of questions. QuestionCollator reads all of them but the types, which metrics need."""
QUESTION_SOURCES = (IMPORTANCE, "reference_boxes", "mask")
"""Those of QUESTION_COLUMNS that hold importance."""
TRIPLE_COLUMNS = (*QUESTION_COLUMNS, "sub_question", "sub_answers", "irrelevant_question", "irrelevant_answers")
"""Columns of rows of questions, each with a sub-question and an irrelevant question where it has them."""
CAPTION_COLUMNS = (
    "caption", "captions", "caption_id", "image_id", "segmentations", "features", "boxes", "image", "pixel_values", ANNOTATED,
)  # fmt: skip
"""Columns of rows of captions. CaptionCollator reads all of them but `captions`, the references that metrics need."""
CAPTION_SOURCES = ("segmentations",)
"""Those of CAPTION_COLUMNS that hold importance."""
KNOWN_COLUMNS = tuple(dict.fromkeys((*IMAGE_COLUMNS, *QUESTION_COLUMNS, *CAPTION_COLUMNS)))
"""Columns of rows of any kind, which the trainer never drops."""

HOST_COLUMNS = (ROW, SLOT, TIME, ANNOTATED, ANSWER)
"""Batch columns that are lists on the host, so that choosing explained rows never waits for the device."""
EXPLAINED_ROW_COLUMNS = (
    *HOST_COLUMNS, TARGET, WORD_TOKENS, IMPORTANCE, RANDOM_IMPORTANCE, SAVED_MAP, HUMAN_MAP,
)  # fmt: skip
"""Batch columns with one entry per explained row; all others have one entry per image."""
