"""The row format of questions about images, the checks that every row passes, and the base of their builders.

| column          | feature                       | meaning                                                     |
|-----------------|-------------------------------|-------------------------------------------------------------|
| question_id     | `Value("string")`             | unique within a split                                       |
| image_id        | `Value("string")`             | by which the features of boxes are looked up                |
| question        | `Value("string")`             | not empty                                                   |
| answers         | `List(Value("string"))`       | raw, one per annotator; empty where they are not published  |
| question_type   | `Value("string")`             | "" when unknown                                             |
| answer_type     | `Value("string")`             | "" when unknown                                             |
| image           | `Image()`, optional           |                                                             |
| importance      | `List(float32)`, optional     | one number per box in [0, 1]                                |
| reference_boxes | `List(List(float32, 4))`, opt. | xyxy in [0, 1]: boxes of the objects that matter           |
| mask            | `Image()`, one channel, opt.  | attention map or mask, 8 bit; 0 does not matter             |
| grid_features   | (cells, dims), optional       | features of a grid beside the boxes, for Pythia             |

A row without importance has None in its column. `QuestionCollator` reads these rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from hf_guidance.data.builder_base import InvalidAnnotation, id_text
from hf_guidance.data.questions.answer_texts import answer_texts
from hf_guidance.data.record_builder import FolderConfig, Record, RecordBuilder

__all__ = [
    "QuestionBuilder", "QuestionConfig", "Record", "known_image", "question_features", "question_row", "row_id",
]  # fmt: skip

_OPTIONAL: dict[str, Any] = {
    "image": datasets.Image(),
    "importance": datasets.List(datasets.Value("float32")),
    "reference_boxes": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
    "mask": datasets.Image(),
}


def question_features(*optional: str) -> datasets.Features:
    """The `datasets.Features` of questions.

    Args:
        optional: Which of "image", "importance", "reference_boxes" and "mask" the rows carry.

    Raises:
        ValueError: An unknown column.

    Example:
        >>> list(question_features("mask"))
        ['question_id', 'image_id', 'question', 'answers', 'question_type', 'answer_type', 'mask']
    """
    unknown = sorted(set(optional) - set(_OPTIONAL))
    if unknown:
        raise ValueError(f"optional: got {unknown}; allowed: {list(_OPTIONAL)}.")
    text = datasets.Value("string")
    columns = {"question_id": text, "image_id": text, "question": text, "answers": datasets.List(text)}
    types = {"question_type": text, "answer_type": text}
    return datasets.Features({**columns, **types, **{name: _OPTIONAL[name] for name in optional}})


def question_row(entry: Mapping[str, Any], answers: Any, item: str, **columns: Any) -> dict[str, Any]:
    """Make a row and check it.

    Args:
        entry: A raw question: question_id, image_id, question, and question_type and answer_type where known. Ids are text or
            whole numbers.
        answers: Raw answers; see `answer_texts`.
        item: Names the question in errors.
        columns: Further columns of the row.

    Raises:
        InvalidAnnotation: (a `ValueError`) for an id that is missing or no id, a question that is empty or not text, or answers
            that are not texts.
    """
    missing = [key for key in ("question_id", "image_id", "question") if entry.get(key) is None]
    if missing:
        raise InvalidAnnotation("question without id, image or text", item, f"it has no {', '.join(missing)}.")
    question = entry["question"]
    if not isinstance(question, str):
        raise InvalidAnnotation("question is not text", item, f"its question is {question!r}.")
    if not question.strip():
        raise InvalidAnnotation("empty question", item, "its text is empty.")
    ids = {key: row_id(entry[key], key, item) for key in ("question_id", "image_id")}
    try:
        texts = answer_texts(answers)
    except ValueError as error:
        raise InvalidAnnotation("answer is not text", item, str(error)) from None
    types = {key: str(entry.get(key) or "") for key in ("question_type", "answer_type")}
    return {**ids, "question": question.strip(), "answers": texts, **types, **columns}


def row_id(value: Any, key: str, item: str) -> str:
    """The text of an id (see `id_text`), or an `InvalidAnnotation` that names the record."""
    try:
        return id_text(value)
    except ValueError as error:
        raise InvalidAnnotation(f"{key} is no id", item, f"{key}: {error}") from None


def known_image(value: Any) -> str | None:
    """The text of an image's id for looking it up, None where there is none; what is no id at all is refused with its row."""
    try:
        return id_text(value)
    except ValueError:
        return None


@dataclass
class QuestionConfig(FolderConfig):
    """Options that every builder of questions has: `invalid`, as in `AnnotatedImageConfig`."""


class QuestionBuilder(RecordBuilder):
    """A builder of questions: subclasses give the records of each split and turn one record into a row; see `RecordBuilder`."""

    BUILDER_CONFIG_CLASS = QuestionConfig
