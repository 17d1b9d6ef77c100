"""The human importance of one (image, class) pair, at the size of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from hf_guidance.common.checks import check_choice
from hf_guidance.data.boxes import boxes_to_mask, dilate_boxes
from hf_guidance.data.builder_base import InvalidAnnotation, id_text
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.data.images.controls import control_generator, moved_boxes, moved_mask
from hf_guidance.data.images.objects import BBOX_FORMATS, object_boxes
from hf_guidance.data.images.pictures import class_numbers, grey_levels
from hf_guidance.data.images.rows import ANY_CLASS, class_mask

SOURCES = ("auto", "importance", "mask", "boxes")
_FAINT = 3  # 8-bit importance of 3 of 255 at most is next to nothing; it may be numbers of classes
_COLUMN = {"importance": IMPORTANCE, "mask": "mask", "boxes": "objects"}


@dataclass(frozen=True)
class ImportanceReader:
    """Reads the human importance of a class in an image from a dataset row.

    Args:
        source: "importance", "mask", "boxes", or "auto" for the first of these that a row has.
        num_labels: Number of classes, to check masks and categories; None does not check their upper end.
        control_seed: Moves every box, or the mask, to a random place (see `hf_guidance.data.images.controls`); None does not.
        dilation: Grows every box on each side by this share of its width and height (see `dilate_boxes`).
        bbox_format: What the numbers of a box are: "xyxy" (xmin, ymin, xmax, ymax) or "xywh" (xmin, ymin, width, height).

    Raises:
        ValueError: The source or the format is unknown; or the dilation is not a number, negative or infinite, or the source
            has no boxes.
    """

    source: str = "auto"
    num_labels: int | None = None
    control_seed: int | None = None
    dilation: float = 0.0
    bbox_format: str = "xyxy"

    def __post_init__(self) -> None:
        check_choice("source", self.source, SOURCES)
        check_choice("bbox_format", self.bbox_format, BBOX_FORMATS)
        if not isinstance(self.dilation, Real) or not 0 <= self.dilation < math.inf:
            raise ValueError(
                f"box_dilation={self.dilation!r}: allowed is a share of the box, 0 or more; 0.25 grows it by a quarter."
            )
        if self.dilation and self.source in ("importance", "mask"):
            raise ValueError(
                f"box_dilation={self.dilation} grows boxes, and source={self.source!r} has none; pass source='boxes', or "
                "box_dilation=0.0."
            )

    def __call__(self, row: Mapping[str, Any], size: tuple[int, int], target: int, name: str) -> npt.NDArray[np.uint8]:
        """Importance of a class in the image of a row.

        Args:
            row: The dataset row.
            size: (height, width) of its image.
            target: The class.
            name: Names the row in errors.

        Returns:
            (height, width) uint8, 255 for importance 1. All zero where the row has no importance for the class.

        Raises:
            ValueError: The chosen column is missing or not of the image's size; a map has colours, NaN or values outside [0, 1]
                (a PIL image is scaled by the range of its mode); a mask has colours, NaN or values without a class; an object
                is malformed, of unknown class, or its box is outside the image, reversed or empty; all boxes lie in [0, 1]; a
                control has no ``image_id``; there is a dilation, but importance is not from boxes.
        """
        seed = self.control_seed
        generator = None if seed is None else control_generator(seed, _image_id(row, name), target)
        column = _filled_column(row, self.source, name)
        if column is None:
            return np.zeros(size, np.uint8)
        if column == "objects":
            boxes = self._boxes(row[column], size, target, name)
            if generator is not None:
                boxes = moved_boxes(boxes, size, generator)
            return (boxes_to_mask(boxes, *size).numpy() * 255).astype(np.uint8)
        if self.dilation:
            raise ValueError(
                f"{name} takes its importance from column {column!r}, and box_dilation={self.dilation} grows boxes only; "
                "pass source='boxes', or box_dilation=0.0."
            )
        values = map_array(row[column], size, column, name)
        pixels = (
            _from_mask(values, target, self.num_labels, name)
            if column == "mask"
            else np.round(values * 255).astype(np.uint8)
        )
        return pixels if generator is None else moved_mask(pixels, generator)

    def _boxes(self, value: Any, size: tuple[int, int], target: int, name: str) -> list[list[float]]:
        boxes: list[list[float]] = []
        for category, (x0, y0, x1, y1) in object_boxes(value, size, self.num_labels, self.bbox_format, name):
            if category == target:
                # Every pixel that the box touches, so that a box smaller than a pixel does not vanish.
                boxes.append([math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)])
        return _grown(boxes, size, self.dilation) if self.dilation and boxes else boxes


def _image_id(row: Mapping[str, Any], name: str) -> str:
    if row.get("image_id") is None:
        raise ValueError(f"{name} has no image_id, from which the control draws its places; add a column 'image_id'.")
    try:
        return id_text(row["image_id"])
    except ValueError as error:
        raise ValueError(
            f"{name}: {error} The control draws its places from it; give text or a whole number."
        ) from None


def _filled_column(row: Mapping[str, Any], source: str, name: str) -> str | None:
    if source == "auto":
        return next((_COLUMN[s] for s in SOURCES[1:] if row.get(_COLUMN[s]) is not None), None)
    if _COLUMN[source] not in row:
        raise ValueError(
            f"{name} has no column {_COLUMN[source]!r}, which source={source!r} reads; it has {sorted(row)}."
        )
    return None if row[_COLUMN[source]] is None else _COLUMN[source]


def map_array(value: Any, size: tuple[int, int], column: str, name: str) -> npt.NDArray[Any]:
    """Read and check column ``mask`` or ``importance``.

    Args:
        value: A PIL image of one channel, or (height, width) numbers.
        size: (height, width) of the image.
        column: "mask" gives the numbers as they are, "importance" floats in [0, 1].
        name: Names the row in errors.

    Raises:
        ValueError: Colours, NaN, no numbers, another size than the image; or importance outside [0, 1].
    """
    item = f"{name}: {column}"
    try:
        if isinstance(value, Image.Image):
            values = class_numbers(value, item) if column == "mask" else grey_levels(value, item, _FAINT)
        else:
            values = np.asarray(value)
    except InvalidAnnotation as error:  # str(error) gives advice on building a dataset, which does not apply here
        raise ValueError(f"{item} cannot be read: {error.message}") from None
    except (OSError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"{item} cannot be read ({error}); give a one-channel image or (height, width).") from error
    if values.shape != size:
        raise ValueError(
            f"{item} has size {values.shape} (height, width), the image {size}; resize one of them, and give masks one "
            "channel."
        )
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{item} holds {values.dtype}, not numbers; give a one-channel image or (height, width).")
    if not np.isfinite(values).all():
        raise ValueError(f"{item} holds NaN or infinity; replace them, for example by 0.")
    return values if column == "mask" else _levels(values, name)


def _from_mask(values: npt.NDArray[Any], target: int, num_labels: int | None, name: str) -> npt.NDArray[np.uint8]:
    # Booleans name no class, so True becomes 255, any class. Numbers follow the row format: 1 is class 0.
    if values.dtype == np.bool_:
        return np.where(values, 255, 0).astype(np.uint8)
    last = ANY_CLASS - 1 if num_labels is None else min(num_labels, ANY_CLASS - 1)
    wrong = (values < 0) | ((values > last) & (values != ANY_CLASS))
    if values.dtype.kind == "f":
        wrong |= values % 1 != 0
    if wrong.any():
        raise ValueError(
            f"{name}: mask holds the value {values[wrong][0]:g}; allowed are 0 (nothing), 255 (any class) and 1 + class, so "
            f"1 to {last}. JPEG and smooth resizing change values: save masks as PNG, resize them with nearest, or "
            "threshold them to 0 and 255; a soft map belongs in column 'importance'."
        )
    return np.where(class_mask(values, target), 255, 0).astype(np.uint8)


def _grown(boxes: list[list[float]], size: tuple[int, int], dilation: float) -> list[list[float]]:
    # The published rule clips to width - 1 and height - 1, where all of its boxes end. Boxes here may end at width and
    # height; one that does must not shrink or vanish.
    given = torch.tensor(boxes).long()
    grown = dilate_boxes(given, dilation, *size)
    return torch.cat([grown[:, :2].minimum(given[:, :2]), grown[:, 2:].maximum(given[:, 2:])], 1).tolist()


def _levels(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < 0 or high > 1:
        full = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 255
        raise ValueError(f"{name}: importance in [{low:g}, {high:g}], allowed is [0, 1]; divide it (by {full}?) first.")
    return values.astype(np.float64)
