"""Whether a dataset holds any human importance, without decoding an image."""

from __future__ import annotations

from typing import Any

import datasets

_IMPORTANCE_COLUMNS = ("importance", "mask", "objects")


def check_annotated(dataset: Any) -> None:
    """Raise if a map-style dataset cannot have a single annotated row. Other kinds of dataset are not judged.

    Raises:
        ValueError: No column with importance, or every row of them is empty, or every ``annotated`` is False.
    """
    if not isinstance(dataset, datasets.Dataset) or "pixel_values" in dataset.column_names:
        return
    columns = [name for name in _IMPORTANCE_COLUMNS if name in dataset.column_names]
    if not columns:
        raise ValueError(
            f"the training set has none of the columns {list(_IMPORTANCE_COLUMNS)}, so nothing can guide; it has "
            f"{dataset.column_names}. Build it with hf_guidance.dataset_builder, or add a column 'objects' or 'mask'."
        )
    if "annotated" in dataset.column_names and not any(dataset.with_format(None)["annotated"]):
        raise ValueError("column 'annotated' of the training set is False in every row; annotate at least one row.")
    if columns == ["objects"] and not any(_filled(dataset)):
        raise ValueError("column 'objects' of the training set is empty in every row; annotate at least one row.")


def _filled(dataset: datasets.Dataset) -> Any:
    for batch in dataset.with_format("arrow").select_columns(["objects"]).iter(batch_size=1000):
        for objects in batch.column("objects").to_pylist():
            yield bool(objects and (objects["bbox"] if isinstance(objects, dict) else objects))
