"""The classes of one dataset row."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification")


def row_labels(row: Mapping[str, Any], name: str, problem_type: str, num_labels: int | None) -> list[int]:
    """Read and check column ``labels`` (a list or an int) or ``label`` (an int).

    Args:
        row: The row.
        name: Names the row in errors.
        problem_type: "single_label_classification" requires exactly one label.
        num_labels: Number of classes; None does not check the upper end.

    Returns:
        The class indices, ascending. Multi-label rows may have none.

    Raises:
        ValueError: There is no label column; labels are not class indices, or hold a class twice (as 0/1 entries per class do);
            one label is required and there are none or several; a class is outside [0, num_labels).
    """
    value = row.get("labels", row.get("label"))
    if value is None:
        raise ValueError(f"{name} has neither 'labels' nor 'label'; its columns are {sorted(row)}.")
    labels = sorted(_indices(value, name))
    if problem_type == "single_label_classification" and len(labels) != 1:
        raise ValueError(
            f"{name} has labels {labels}, single-label classification takes exactly one; for several set "
            "model.config.problem_type = 'multi_label_classification'."
        )
    wrong = [label for label in labels if label < 0 or (num_labels is not None and label >= num_labels)]
    if wrong:
        raise ValueError(f"{name} has class {wrong[0]}, the model knows 0 to {(num_labels or 0) - 1}; set num_labels.")
    return labels


def _indices(value: Any, name: str) -> list[int]:
    plain = value.tolist() if hasattr(value, "tolist") else value  # a NumPy or torch value
    entries = list(plain) if isinstance(plain, list | tuple | set | frozenset) else [plain]
    try:
        labels = [operator.index(entry) for entry in entries]
    except TypeError:
        labels = []
    if (
        len(labels) < len(entries)
        or any(isinstance(entry, bool) for entry in entries)
        or len(set(labels)) < len(labels)
    ):
        raise ValueError(
            f"{name} has labels {plain!r}; give class indices as integers, each once: [0, 2] for the first and the third "
            "class, not one entry per class as [1, 0, 1], names or floats."
        )
    return labels
