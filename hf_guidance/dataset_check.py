"""Whether a dataset holds any human importance, without decoding an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import datasets

_IMPORTANCE_COLUMNS = ("importance", "mask", "objects", "reference_boxes")


def can_be_judged(dataset: Any) -> bool:
    """Whether the columns tell if rows are annotated: map-style, and no transform makes other rows of them."""
    plain = isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"  # with_transform
    return plain and "pixel_values" not in dataset.column_names


def check_annotated(dataset: Any) -> None:
    """Raise if a dataset that can be judged cannot have a single annotated row.

    Raises:
        ValueError: No column with importance, or all of them empty in every row, or ``annotated`` is False in every row
            that has importance.
    """
    if not can_be_judged(dataset):
        return
    columns = [name for name in _IMPORTANCE_COLUMNS if name in dataset.column_names]
    if not columns:
        raise ValueError(
            f"the training set has none of the columns {list(_IMPORTANCE_COLUMNS)}, so nothing can guide; it has "
            f"{dataset.column_names}. Build it with hf_guidance.dataset_builder, or add a column 'objects' or 'mask'."
        )
    flags = dataset.with_format(None)["annotated"] if "annotated" in dataset.column_names else repeat(None)
    held = False
    for filled, flag in zip(filled_rows(dataset, columns), flags, strict=False):
        if filled and (flag is None or flag):  # as in the collator, a missing flag is no refusal
            return
        held = held or filled
    if not held:
        raise ValueError(f"columns {columns} of the training set are empty in every row; annotate at least one row.")
    raise ValueError(
        f"column 'annotated' of the training set is False in every row that has something in {columns}; annotate at least one "
        "of them."
    )


def filled_rows(dataset: datasets.Dataset, columns: Sequence[str]) -> Iterator[bool]:
    """Whether any of the columns holds something, row by row; no image is decoded.

    Args:
        dataset: With the columns.
        columns: Columns of importance, as "objects" or "mask".
    """
    for batch in dataset.with_format("arrow").select_columns(list(columns)).iter(batch_size=1000):
        filled = [_filled(batch.column(name), name) for name in columns]
        yield from (any(row) for row in zip(*filled, strict=True))


def _filled(column: Any, name: str) -> list[bool]:
    if name != "objects":
        valid: list[bool] = column.is_valid().to_pylist()
        return valid
    return [_holds_objects(objects) for objects in column.to_pylist()]


def _holds_objects(objects: Any) -> bool:
    return any(objects.values()) if isinstance(objects, dict) else bool(objects)
