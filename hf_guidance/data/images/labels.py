"""The classes of one dataset row."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from hf_guidance.data.columns import IMAGE_SOURCES
from hf_guidance.data.images.objects import CATEGORY

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification")


def no_labels(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row has neither ``labels`` nor ``label``, so that it can only be predicted.

    Args:
        row: The row.
        name: Names the row in errors.

    Raises:
        ValueError: The row has no labels, but importance (objects, a mask or a map), which then belongs to no class.
    """
    if _given(row) is not None:
        return False
    held = [column for column in IMAGE_SOURCES if _filled(row.get(column))]
    if not held:
        return True
    fix = "add the classes of each image as a column of label indices"
    if "objects" in held:
        objects = row["objects"]
        lists = isinstance(objects, Mapping)
        first = objects[0] if isinstance(objects, list | tuple) else objects
        key = next((key for key in CATEGORY if isinstance(first, Mapping) and key in first), CATEGORY[0])
        each = f"row['objects']['{key}']" if lists else f"(entry['{key}'] for entry in row['objects'])"
        fix += f": dataset.map(lambda row: {{'labels': sorted(set({each}))}})"
    raise ValueError(
        f"{name} has {held[0]!r} but no 'labels', so nothing says which classes to train and to explain; {fix}. To predict "
        f"only, remove the column {held[0]!r}."
    )


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
    if no_labels(row, name):
        raise ValueError(f"{name} has neither 'labels' nor 'label'; its columns are {sorted(row)}.")
    labels = sorted(_indices(_given(row), name))
    if problem_type == "single_label_classification" and len(labels) != 1:
        raise ValueError(
            f"{name} has labels {labels}, single-label classification takes exactly one; for several set "
            "model.config.problem_type = 'multi_label_classification'."
        )
    wrong = [label for label in labels if label < 0 or (num_labels is not None and label >= num_labels)]
    if wrong:
        known = (
            f"the model knows 0 to {num_labels - 1}; set num_labels"
            if num_labels
            else "allowed is a class index from 0 on"
        )
        raise ValueError(f"{name} has class {wrong[0]}, {known}.")
    return labels


def _given(row: Mapping[str, Any]) -> Any:
    labels = row.get("labels")
    return row.get("label") if labels is None else labels


def _filled(value: Any) -> bool:
    # Objects are a list of dicts, or a dict of lists or arrays; a mask or a map is filled where there is one.
    if isinstance(value, Mapping):
        return any(map(_filled, value.values()))
    shape = (len(value),) if isinstance(value, list | tuple) else getattr(value, "shape", ())
    return value is not None and 0 not in shape


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
