"""The objects of one dataset row: their classes and boxes, checked."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.box_checks import check_box, check_boxes, clipped_box, drawn_raw, leaves

BBOX_FORMATS = ("xyxy", "xywh")
CATEGORY = ("category", "categories")  # the second is that of `imagefolder` in the docs of `datasets`
_NUMBERS = {"xyxy": "[xmin, ymin, xmax, ymax]", "xywh": "[xmin, ymin, width, height]"}
_OBJECT = "an object is {'bbox': %s, 'category': label index}"


class MovedBox(list[float]):
    """xyxy in pixels of ``pixel_values``, checked before a transform moved it: it may be as small as a part of a pixel."""


def object_boxes(
    value: Any, size: tuple[int, int], num_labels: int | None, bbox_format: str, name: str
) -> list[tuple[int, list[float]]]:
    """Read and check column ``objects``.

    Args:
        value: A list of {"bbox": four numbers in pixels, "category": label index}, or a dict of such lists. ``categories`` is
            another name of ``category``. A `MovedBox` is taken as it is.
        size: (height, width) of the image.
        num_labels: Number of classes; None does not check the upper end.
        bbox_format: "xyxy" (xmin, ymin, xmax, ymax) or "xywh" (xmin, ymin, width, height).
        name: Names the row in errors.

    Returns:
        Category and xyxy of every object; what a box has less than a pixel outside the image, as rounded boxes do, is cut.

    Raises:
        ValueError: An object is malformed or of unknown class; its box is reversed, empty, or ends a pixel or more outside the
            image, which names the other format; or all boxes are shares of the image (see `are_shares`), unless all of their
            numbers are integers, as those of a box of the first pixel are.
    """
    decoded = (size[1], size[0])
    entries = object_list(value, bbox_format, name)
    items = [f"{name}, object {number}" for number in range(len(entries))]
    found = [_checked(entry, num_labels, bbox_format, item) for entry, item in zip(entries, items, strict=True)]
    if entries and all(isinstance(entry["bbox"], MovedBox) for entry in entries):
        return found
    try:
        if not all(_whole(entry["bbox"]) for entry in entries):
            check_boxes([box for _, box in found], decoded, name)
        for item, (_, box) in zip(items, found, strict=True):
            box[:] = _inside(box, decoded, bbox_format, item)
    except InvalidAnnotation as error:  # str(error) gives advice on building a dataset, which does not apply here
        fix = "Give boxes of the first pixel as integers." if error.reason == "boxes in [0, 1]" else ""
        raise ValueError(f"{error.item}: {error.message} Correct the row or drop the box. {fix}".rstrip()) from None
    return found


def object_list(value: Any, bbox_format: str, name: str, classes: bool = True) -> list[Any]:
    """The objects of a row one by one, as they are given, from a list of them or from a dict of lists.

    A dict of lists must have one of categories, unless ``classes`` are not needed.

    Raises:
        ValueError: Neither, or lists of different length.
    """
    fix = _OBJECT % _NUMBERS[bbox_format]
    if not isinstance(value, Mapping):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ValueError(f"{name}: objects is a {type(value).__name__}; give a list, where {fix}.")
        return list(value)
    # A dict of lists, as older versions of `datasets` give.
    needed = classes or "bbox" not in value or {*CATEGORY} & {*value}
    category = _category_name(value, f"{name}: objects", fix) if needed else "bbox"
    boxes, categories = (_column(value[key], key, name, fix) for key in ("bbox", category))
    if len(boxes) != len(categories):
        raise ValueError(
            f"{name}: objects has {len(boxes)} in 'bbox' and {len(categories)} in {category!r}; give one category per box."
        )
    others = {key: column for key, column in value.items() if isinstance(column, list) and len(column) == len(boxes)}
    columns = {**others, "bbox": boxes, category: categories}
    return [dict(zip(columns, entry, strict=True)) for entry in zip(*columns.values(), strict=True)]


def _column(column: Any, key: str, name: str, fix: str) -> list[Any]:
    try:
        return [] if column is None else list(column)
    except TypeError:
        raise ValueError(
            f"{name}: objects has {column!r:.80} in {key!r}; give lists with one entry per box, where {fix}."
        ) from None


def _category_name(entry: Mapping[Any, Any], item: str, fix: str) -> str:
    held = [key for key in CATEGORY if key in entry]
    missing = [*(["bbox"] if "bbox" not in entry else []), *(["category"] if not held else [])]
    if missing:
        raise ValueError(f"{item} has no {missing[0]!r} but {sorted(map(str, entry))}; rename or add it: {fix}.")
    if len(held) > 1:
        raise ValueError(f"{item} has {held[0]!r} and {held[1]!r}, two names of one thing; remove one of them.")
    return held[0]


def _checked(entry: Any, num_labels: int | None, bbox_format: str, item: str) -> tuple[int, list[float]]:
    fix = _OBJECT % _NUMBERS[bbox_format]
    if not isinstance(entry, Mapping):
        raise ValueError(f"{item} is {entry!r:.80}, a {type(entry).__name__}; give a dict: {fix}.")
    given = entry[_category_name(entry, item, fix)]
    try:
        category = operator.index(given)
    except TypeError:
        category = -1
    if category < 0 or (num_labels is not None and category >= num_labels):
        allowed = "from 0" if num_labels is None else f"0 to {num_labels - 1}"
        raise ValueError(
            f"{item} has category {given!r}, allowed is a label index, {allowed}; turn names into indices "
            "(ClassLabel.str2int), and drop objects of classes that the model does not know."
        )
    return category, _corners(entry["bbox"], bbox_format, item)


def _corners(bbox: Any, bbox_format: str, item: str) -> list[float]:
    if isinstance(bbox, MovedBox):
        # Never by its type alone: after Dataset.map or JSON it is a plain list, which xywh would read as another box.
        if bbox_format == "xywh":
            raise ValueError(
                f"{item}: the collator is told bbox_format='xywh', but JointTransform makes xyxy of all boxes; give "
                "bbox_format='xywh' to JointTransform, where boxes of the rows are read, and leave it out here."
            )
        return list(bbox)
    try:
        box = [float(v) for v in bbox]
    except (TypeError, ValueError):
        box = []
    if len(box) != 4 or isinstance(bbox, str):
        fix = _OBJECT % _NUMBERS[bbox_format]
        raise ValueError(f"{item} has bbox {bbox!r}; correct the row or drop the box: {fix}.")
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]] if bbox_format == "xywh" else box


def _whole(bbox: Any) -> bool:
    # Given as integers, so not as shares of the image.
    try:
        return all(operator.index(value) >= 0 for value in bbox)
    except TypeError:
        return False


def _inside(box: list[float], size: tuple[int, int], bbox_format: str, item: str) -> list[float]:
    x0, y0, x1, y1 = box
    if bbox_format == "xyxy":
        hint = " If its numbers are x, y, width, height, as in COCO, pass bbox_format='xywh'."
    else:
        hint = " It was read as x, y, width, height; if its numbers are corners, pass bbox_format='xyxy'."
    if x0 < x1 and y0 < y1 and leaves(box, size) and not leaves(box, size[::-1]):
        hint += f" Or: {drawn_raw(box, size)}"
    if leaves(box, size):
        check_box(box, *size, item, hint)
    return clipped_box(box, size, item, hint)[0]
