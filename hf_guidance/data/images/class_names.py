"""The names of the classes of a dataset, from its column of labels."""

from __future__ import annotations

from typing import Any


def class_names(rows: Any, split: str = "train") -> list[str]:
    """The class names of a dataset whose labels are ClassLabels, one or several per row.

    Args:
        rows: A ``datasets.Dataset`` with a column "labels" or "label".
        split: Its name, for the error.

    Returns:
        The names in the order of their indices.

    Raises:
        ValueError: There is no such column, or its labels have no names.

    Example:
        >>> class_names(load_splits("digits_on_photos")["train"])
        ['even', 'odd']
    """
    labels = rows.features.get("labels", rows.features.get("label"))
    feature = getattr(labels, "feature", labels)
    if not hasattr(feature, "names"):
        raise ValueError(
            f"split {split!r} has no ClassLabel column 'labels' or 'label', nor 'objects' to take labels from; it has "
            f"{rows.column_names}. Give labels their names: dataset.cast_column('label', ClassLabel(names=[...]))."
        )
    names: list[str] = feature.names
    return names
