"""The human importance of one (image, class) pair, at the size of the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.controls import control_generator, moved_boxes, moved_mask
from hf_guidance.schema import check_box, class_mask
from hf_guidance.spatial import boxes_to_mask

SOURCES = ("auto", "importance", "mask", "boxes")
_COLUMN = {"importance": "importance", "mask": "mask", "boxes": "objects"}


def row_importance(
    row: Mapping[str, Any], size: tuple[int, int], target: int, source: str, name: str, control_seed: int | None = None
) -> npt.NDArray[np.uint8]:
    """Importance of a class in an image.

    Args:
        row: The dataset row.
        size: (height, width) of its image.
        target: The class.
        source: "importance", "mask", "boxes", or "auto" for the first of these that the row has.
        name: Names the row in errors.
        control_seed: Moves every box, or the mask, to a random place (see controls.py); None leaves it where it is.

    Returns:
        (height, width) uint8, 255 for importance 1. All zero where the row says nothing of the class.

    Raises:
        ValueError: The chosen column is missing, another size than the image's, NaN, values outside [0, 1], or a box
            outside the image, reversed or empty; a control without ``image_id``.
    """
    generator = None if control_seed is None else control_generator(control_seed, _image_id(row, name), target)
    if source == "auto":
        present = [s for s in SOURCES[1:] if row.get(_COLUMN[s]) is not None]
        if not present:
            return np.zeros(size, np.uint8)
        source = present[0]
    elif _COLUMN[source] not in row:
        raise ValueError(f"{name} has no column {_COLUMN[source]!r}, source={source!r} reads it; it has {sorted(row)}.")
    value = row[_COLUMN[source]]
    if value is None:
        return np.zeros(size, np.uint8)
    if source == "boxes":
        return _from_boxes(value, size, target, name, generator)
    values = np.asarray(value)
    if values.shape != size:
        raise ValueError(
            f"{name}: {_COLUMN[source]} of size {values.shape} (height, width) on an image of {size}; resize one of them, "
            "and give masks one channel."
        )
    pixels = (
        np.where(class_mask(values, target), 255, 0).astype(np.uint8) if source == "mask" else _from_map(values, name)
    )
    return pixels if generator is None else moved_mask(pixels, generator)


def _image_id(row: Mapping[str, Any], name: str) -> str:
    if row.get("image_id") is None:
        raise ValueError(f"{name} has no image_id, which the control's places are drawn by; add a column 'image_id'.")
    return str(row["image_id"])


def _from_boxes(
    objects: Any, size: tuple[int, int], target: int, name: str, generator: np.random.Generator | None
) -> npt.NDArray[np.uint8]:
    if isinstance(objects, Mapping):  # a dict of lists, as datasets gives for Sequence features
        objects = [{"bbox": b, "category": c} for b, c in zip(objects["bbox"], objects["category"], strict=True)]
    boxes = [[float(v) for v in o["bbox"]] for o in objects if o["category"] == target]
    for number, box in enumerate(boxes):
        check_box(box, size[1], size[0], f"{name}, box {number} of class {target}")
    if generator is not None:
        boxes = moved_boxes(boxes, size, generator)
    return (boxes_to_mask(boxes, *size).numpy() * 255).astype(np.uint8)


def _from_map(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: importance holds NaN or infinity; replace them, for example by 0.")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < 0 or high > 1:
        raise ValueError(f"{name}: importance in [{low:g}, {high:g}], allowed is [0, 1]; divide it (by 255?) first.")
    return np.round(values * 255).astype(np.uint8)
