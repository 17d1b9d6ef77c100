"""Quadrants of the reasonability matrix: whether a first model looked and predicted right at an image (arXiv 2202.02838).

| number | people said that its map is | its prediction was |
|---|---|---|
| 0 | unreasonable ("no") | wrong |
| 1 | unreasonable ("no") | right |
| 2 | reasonable ("yes") | wrong |
| 3 | reasonable ("yes"), or nobody judged it | right, or any |
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from hf_guidance.data.columns import ANSWER, QUADRANT
from hf_guidance.data.images.labels import row_labels
from hf_guidance.data.images.photo import row_name

UNREASONABLE_INACCURATE, UNREASONABLE_ACCURATE, REASONABLE_INACCURATE, OTHER = range(4)
_REASONABLE = {"yes": True, "no": False, "maybe": None, None: None}


def quadrant(answer: str | None, right: bool) -> int:
    """The quadrant of an image.

    Args:
        answer: "yes" where the map is reasonable, "no" where it is not; "maybe" or None where that is not known.
        right: Whether the prediction is the label.

    Returns:
        0 to 3.

    Raises:
        ValueError: Another answer.

    Example:
        >>> quadrant("no", right=True)
        1
    """
    if answer not in _REASONABLE:
        raise ValueError(f"answer {answer!r} is unknown; give 'yes', 'no', 'maybe' or None.")
    reasonable = _REASONABLE[answer]
    if reasonable is None:
        return OTHER
    if reasonable:
        return OTHER if right else REASONABLE_INACCURATE
    return UNREASONABLE_ACCURATE if right else UNREASONABLE_INACCURATE


def with_quadrants(dataset: datasets.Dataset, predictions: Sequence[int] | None = None) -> datasets.Dataset:
    """Add the column ``quadrant``, which GRADIA and QuadrantTaskLoss read.

    Args:
        dataset: Rows with one label and the column ``answer``: "yes", "no", "maybe" or None.
        predictions: The class that the first model predicts for each row, in their order, as
            ``trainer.predict(dataset).predictions.argmax(1)``. None for data that nobody judged, without the column
            ``answer``, as for evaluation: every row is in quadrant 3.

    Returns:
        The dataset with the column; an earlier one is replaced.

    Raises:
        ValueError: ``dataset`` is no `datasets.Dataset`; there are answers without predictions, or the other way round; the
            numbers of rows and predictions differ; a prediction is no class index; a row has an unknown answer, or not one
            label.

    Example:
        >>> train = with_quadrants(train, trainer.predict(train).predictions.argmax(1))
    """
    if not isinstance(dataset, datasets.Dataset):
        raise ValueError(f"{type(dataset).__name__} cannot be marked; give one datasets.Dataset, as splits['train'].")
    answered = ANSWER in dataset.column_names
    if answered != (predictions is not None):
        missing = "predictions" if answered else f"column {ANSWER!r}"
        raise ValueError(
            f"the {missing} are missing: a quadrant needs people's answers and the model's predictions. For data that nobody "
            f"judged, remove the column {ANSWER!r} and give no predictions."
        )
    found = [OTHER] * len(dataset) if predictions is None else _quadrants(dataset, predictions)
    if QUADRANT in dataset.column_names:
        dataset = dataset.remove_columns(QUADRANT)
    return dataset.add_column(QUADRANT, found)


def row_quadrants(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Read the column ``quadrant`` of dataset rows.

    Raises:
        ValueError: A row has none, or one that is not 0 to 3; the message names it.
    """
    found = []
    for index, row in enumerate(rows):
        try:
            value = operator.index(row[QUADRANT])
        except (KeyError, TypeError):
            value = -1
        if not UNREASONABLE_INACCURATE <= value <= OTHER:
            raise ValueError(
                f"{row_name(row, index)} has the quadrant {row.get(QUADRANT)!r}; give every row a whole number from 0 to 3, as "
                "with_quadrants does."
            )
        found.append(value)
    return found


def _quadrants(dataset: datasets.Dataset, predictions: Sequence[int]) -> list[int]:
    if len(predictions) != len(dataset):
        raise ValueError(f"{len(predictions)} predictions for {len(dataset)} rows; give one class index per row.")
    columns = [name for name in ("labels", "label", ANSWER) if name in dataset.column_names]
    found = []
    for index, (row, prediction) in enumerate(
        zip(dataset.with_format(None).select_columns(columns), predictions, strict=True)
    ):
        (label,) = row_labels(row, f"row {index}", "single_label_classification", None)
        try:
            right = operator.index(prediction) == label
        except TypeError as error:
            raise ValueError(
                f"prediction {index} is {prediction!r}; give class indices, as logits.argmax(1)."
            ) from error
        try:
            found.append(quadrant(row[ANSWER], right))
        except ValueError as error:
            raise ValueError(f"row {index}: {error}") from error
    return found
