"""The classes of one dataset row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification")


def row_labels(row: Mapping[str, Any], name: str, problem_type: str, num_labels: int | None) -> list[int]:
    """Read and check column ``labels`` (a list or an int) or ``label`` (an int).

    Args:
        row: The row.
        name: Names it in errors.
        problem_type: "single_label_classification" asks for exactly one label.
        num_labels: Number of classes; None does not check the range.

    Returns:
        The class indices, each once, ascending. Multi-label rows may have none.

    Raises:
        ValueError: No label column, not exactly one label, or a class outside [0, num_labels).
    """
    value = row.get("labels", row.get("label"))
    if value is None:
        raise ValueError(f"{name} has neither 'labels' nor 'label'; its columns are {sorted(row)}.")
    labels = sorted({int(v) for v in value}) if hasattr(value, "__iter__") else [int(value)]
    if problem_type == "single_label_classification" and len(labels) != 1:
        raise ValueError(
            f"{name} has labels {labels}, single-label classification takes exactly one; for several set "
            "model.config.problem_type = 'multi_label_classification'."
        )
    wrong = [label for label in labels if label < 0 or (num_labels is not None and label >= num_labels)]
    if wrong:
        raise ValueError(f"{name} has class {wrong[0]}, the model knows 0 to {(num_labels or 0) - 1}; set num_labels.")
    return labels
