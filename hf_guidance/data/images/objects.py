"""The objects of one dataset row: their classes and boxes, checked."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.box_checks import check_box, check_boxes, clipped_box, drawn_raw, leaves

BBOX_FORMATS = ("xyxy", "xywh")
_NUMBERS = {"xyxy": "[xmin, ymin, xmax, ymax]", "xywh": "[xmin, ymin, width, height]"}
_OBJECT = "an object is {'bbox': %s, 'category': label index}"


def object_boxes(
    value: Any, size: tuple[int, int], num_labels: int | None, bbox_format: str, name: str
) -> list[tuple[int, list[float]]]:
    """Read and check column ``objects``.

    Args:
        value: A list of {"bbox": four numbers in pixels, "category": label index}, or a dict of such lists.
        size: (height, width) of the image.
        num_labels: Number of classes; None does not check the upper end.
        bbox_format: "xyxy" (xmin, ymin, xmax, ymax) or "xywh" (xmin, ymin, width, height).
        name: Names the row in errors.

    Returns:
        Category and xyxy of every object; what a box has less than a pixel outside the image, as rounded boxes do, is cut.

    Raises:
        ValueError: An object is malformed or of unknown class; its box is reversed, empty, or ends a pixel or more outside the
            image, which names the other format; or all boxes lie in [0, 1].
    """
    decoded = (size[1], size[0])
    found = [
        _checked(entry, num_labels, bbox_format, f"{name}, object {number}")
        for number, entry in enumerate(_objects(value, bbox_format, name))
    ]
    try:
        check_boxes([box for _, box in found], decoded, name)
        for number, (_, box) in enumerate(found):
            box[:] = _inside(box, decoded, bbox_format, f"{name}, object {number}")
    except InvalidAnnotation as error:  # str(error) gives advice on building a dataset, which does not apply here
        raise ValueError(f"{error.item}: {error.message} Correct the row or drop the box.") from None
    return found


def _inside(box: list[float], size: tuple[int, int], bbox_format: str, item: str) -> list[float]:
    x0, y0, x1, y1 = box
    if bbox_format == "xyxy":
        hint = " If its numbers are x, y, width, height, as in COCO, pass bbox_format='xywh' to the collator."
    else:
        hint = (
            " It was read as x, y, width, height; if its numbers are corners, pass bbox_format='xyxy' to the collator."
        )
    if x0 < x1 and y0 < y1 and leaves(box, size) and not leaves(box, size[::-1]):
        hint += f" Or: {drawn_raw(box, size)}"
    if leaves(box, size):
        check_box(box, *size, item, hint)
    return clipped_box(box, size, item, hint)[0]


def _objects(value: Any, bbox_format: str, name: str) -> list[Any]:
    fix = _OBJECT % _NUMBERS[bbox_format]
    if not isinstance(value, Mapping):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ValueError(f"{name}: objects is a {type(value).__name__}; give a list, where {fix}.")
        return list(value)
    # A dict of lists, as older versions of `datasets` give.
    missing = [key for key in ("bbox", "category") if key not in value]
    if missing:
        raise ValueError(f"{name}: objects has no {missing[0]!r} but {sorted(value)}; rename or add it: {fix}.")
    boxes, categories = ([] if value[key] is None else list(value[key]) for key in ("bbox", "category"))
    if len(boxes) != len(categories):
        raise ValueError(
            f"{name}: objects has {len(boxes)} in 'bbox' and {len(categories)} in 'category'; give one category per box."
        )
    return [{"bbox": box, "category": category} for box, category in zip(boxes, categories, strict=True)]


def _checked(entry: Any, num_labels: int | None, bbox_format: str, item: str) -> tuple[int, list[float]]:
    fix = _OBJECT % _NUMBERS[bbox_format]
    keys = sorted(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
    missing = [key for key in ("bbox", "category") if key not in keys]
    if missing or not isinstance(entry, Mapping):
        raise ValueError(f"{item} has no {missing[0]!r} but {keys}; rename or add it: {fix}.")
    try:
        category = operator.index(entry["category"])
    except TypeError:
        category = -1
    if category < 0 or (num_labels is not None and category >= num_labels):
        allowed = "from 0" if num_labels is None else f"0 to {num_labels - 1}"
        raise ValueError(
            f"{item} has category {entry['category']!r}, allowed is a label index, {allowed}; turn names into indices "
            "(ClassLabel.str2int), and drop objects of classes that the model does not know."
        )
    try:
        box = [float(v) for v in entry["bbox"]]
    except (TypeError, ValueError):
        box = []
    if len(box) != 4 or isinstance(entry["bbox"], str):
        raise ValueError(f"{item} has bbox {entry['bbox']!r}; correct the row or drop the box: {fix}.")
    if bbox_format == "xywh":
        box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    return category, box
