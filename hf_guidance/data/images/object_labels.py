"""Labels of images by the classes of their objects, for datasets of boxes that have no label column, as `imagefolder` sets."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import datasets

from hf_guidance.data.images.objects import CATEGORY


def with_object_labels(splits: Mapping[str, datasets.Dataset], names: list[str] | None = None) -> datasets.DatasetDict:
    """The splits with a column ``labels``: the classes of each image's objects, each once, as a `ClassLabel`.

    Args:
        splits: Name of a split to its rows. Splits that have ``labels`` or ``label``, or no ``objects``, are left as they are.
        names: Class names in the order of their indices; None takes those of the objects' `ClassLabel`, or else the indices.

    Returns:
        The splits. An image without objects has no label.

    Raises:
        ValueError: A category is no label index, or ``names`` has none for it.

    Example:
        >>> splits = with_object_labels(load_splits("my_images"), ["cat", "dog"])
    """
    found = {
        split: [_classes(objects, f"{split}, row {row}") for row, objects in enumerate(rows["objects"])]
        for split, rows in splits.items()
        if "objects" in rows.column_names and not {"label", "labels"} & {*rows.column_names}
    }
    count = 1 + max((label for labels in found.values() for each in labels for label in each), default=-1)
    for split in found:
        names = names or _names(splits[split].features["objects"])
    names = names or [str(label) for label in range(count)]
    if count > len(names):
        raise ValueError(f"the objects have the category {count - 1}, and there are {len(names)} names: {names}.")
    feature = datasets.List(datasets.ClassLabel(names=names))
    return datasets.DatasetDict(
        {
            split: rows.add_column("labels", found[split], feature=feature) if split in found else rows
            for split, rows in splits.items()
        }
    )


def _classes(objects: Any, name: str) -> list[int]:
    """The classes of a row's objects: a list of dicts, or a dict of lists."""
    given: list[Any]
    if isinstance(objects, Mapping):
        given = next((objects[key] for key in CATEGORY if objects.get(key) is not None), [])
    else:
        given = [next((entry[key] for key in CATEGORY if key in entry), None) for entry in objects or []]
    try:
        labels = {operator.index(category) for category in given}
    except TypeError:
        labels = {-1}
    if min(labels, default=0) < 0:
        raise ValueError(f"{name}: its objects have the categories {given!r:.60}; allowed: label indices, 0 or more.")
    return sorted(labels)


def _names(feature: Any) -> list[str] | None:
    """The names of the objects' classes where their feature has them."""
    inside = getattr(feature, "feature", feature)
    category = next((inside[key] for key in CATEGORY if key in inside), None)
    return getattr(getattr(category, "feature", category), "names", None)
