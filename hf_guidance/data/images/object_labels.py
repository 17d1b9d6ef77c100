"""Labels of images by the classes of their objects, for datasets of boxes that have no label column, as `imagefolder` sets."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import datasets

from hf_guidance.data.images.objects import CATEGORY, object_list


def with_object_labels(splits: Mapping[str, datasets.Dataset], names: list[str] | None = None) -> datasets.DatasetDict:
    """The splits with a column ``labels``: the classes of each image's objects, each once, as a `ClassLabel`.

    Args:
        splits: Name of a split to its rows. Splits that have ``labels`` or ``label``, or no ``objects``, are left as they are.
        names: Class names in the order of their indices; None takes those of the objects' `ClassLabel`, or else the indices.

    Returns:
        The splits. An image without objects has no label.

    Raises:
        ValueError: A category is missing or no label index, or ``names`` has none for it; the splits name their classes
            differently, and no ``names`` are given; ``names`` is a text, or there is no split that they could be of.

    Example:
        >>> splits = with_object_labels(load_splits("my_images"), ["cat", "dog"])
    """
    if isinstance(names, str):
        raise ValueError(f"names={names!r} is a text, which would be read as its letters; give a list: [{names!r}].")
    found = {
        split: [_classes(objects, f"{split}, row {row}") for row, objects in enumerate(rows["objects"])]
        for split, rows in splits.items()
        if "objects" in rows.column_names and not {"label", "labels"} & {*rows.column_names}
    }
    count = 1 + max((label for labels in found.values() for each in labels for label in each), default=-1)
    if names and not found:
        raise ValueError(
            f"names={names} would name nothing: the splits have labels already, or no objects; leave names out, or "
            "change those of the labels: dataset.cast_column('labels', List(ClassLabel(names=[...])))."
        )
    names = names or _shared_names(splits, found) or [str(label) for label in range(count)]
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
    entries = object_list(objects, "xyxy", name) if isinstance(objects, Mapping) else objects or []
    given: list[Any] = [
        next((entry[key] for key in CATEGORY if key in entry), None) if isinstance(entry, Mapping) else None
        for entry in entries
    ]
    try:
        labels = {operator.index(category) for category in given}
    except TypeError:
        labels = {-1}
    if min(labels, default=0) < 0:
        raise ValueError(f"{name}: its objects have the categories {given!r:.60}; allowed: label indices, 0 or more.")
    return sorted(labels)


def _shared_names(splits: Mapping[str, datasets.Dataset], found: Iterable[str]) -> list[str] | None:
    """The names of the objects' classes, which every split must have alike."""
    named = {split: _names(splits[split].features["objects"]) for split in found}
    differing = next(([first, other] for first in named for other in named if named[first] != named[other]), None)
    if differing:
        raise ValueError(
            f"the splits name the classes of their objects differently, {differing[0]} as {named[differing[0]]} and "
            f"{differing[1]} as {named[differing[1]]}, so that one index would be two classes; pass names, or cast the objects "
            "of all splits to one ClassLabel."
        )
    return next(iter(named.values()), None)


def _names(feature: Any) -> list[str] | None:
    """The names of the objects' classes where their feature has them."""
    inside = getattr(feature, "feature", feature)
    category = next((inside[key] for key in CATEGORY if key in inside), None)
    return getattr(getattr(category, "feature", category), "names", None)
