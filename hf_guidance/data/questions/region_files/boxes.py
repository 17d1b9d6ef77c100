"""Boxes of region features as shares of the image: pixels are divided, and pixels and shares are told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.data.shares import ROUNDING, SLACK, are_shares

Array = npt.NDArray[Any]
# Columns of `spatial_features`: 6 are a box in [0, 1] and its size; 7 or more a pixel box, height in column 5, width in 6.
PLAIN_COLUMNS, PIXEL_COLUMNS = 6, 7
_SIZE_ERROR = 0.01
_LARGE = 1000  # pixels: images whose size is not known are not tiny


def unit_boxes(boxes: Array, width: float, height: float) -> tuple[Array, int]:
    """Pixel boxes as shares of the image.

    Args:
        boxes: (objects, 4) xyxy in pixels. What leaves the image by up to a pixel, or 1 % of the side, is clipped.
        width: Of the image, in pixels.
        height: Of the image, in pixels.

    Returns:
        (objects, 4) float64 xyxy in [0, 1], and how many boxes were clipped. NaN stays NaN.

    Raises:
        ValueError: The boxes are shares of the image already (see `are_shares`), width and height are exchanged, or boxes leave
            the image.
    """
    boxes, size = np.asarray(boxes, np.float64), np.array([width, height, width, height], np.float64)
    image = f"an image of {width:g}x{height:g} pixels"
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"the image is {width:g} wide and {height:g} high; give its size in pixels.")
    if are_shares(boxes.min(), boxes.max(), size.max()):
        raise ValueError(
            f"boxes reach from {boxes.min():g} to {boxes.max():g} in {image}: they are in [0, 1] already, where pixels are "
            "expected. Pass normalized=True, or write pixels."
        )
    outside = np.maximum(boxes - size, -boxes)
    if (outside > _slack(size)).any():
        turned = size[[1, 0, 3, 2]]
        if (np.maximum(boxes - turned, -boxes) <= _slack(turned)).all():
            raise ValueError(f"boxes leave {image}, but fit {height:g}x{width:g}: exchange its width and height.")
        raise ValueError(
            f"boxes leave {image} by up to {outside.max():g} pixels (x from {boxes[:, ::2].min():g} to "
            f"{boxes[:, ::2].max():g}, y from {boxes[:, 1::2].min():g} to {boxes[:, 1::2].max():g}); allowed are xmin, ymin, "
            "xmax, ymax in pixels of this size, a pixel or 1 % outside at most."
        )
    clipped = int((outside > ROUNDING * size).any(1).sum())
    return (boxes / size).clip(0, 1), clipped


def clipped_shares(boxes: Array) -> tuple[Array, int]:
    """Boxes that are shares of the image, clipped to it as pixel boxes are.

    Args:
        boxes: (objects, 4) xyxy. What leaves [0, 1] by up to 0.01 is clipped; a box further outside stays as it is.

    Returns:
        (objects, 4) in the dtype given, and how many boxes were clipped. NaN stays NaN.
    """
    inside = boxes.clip(0, 1)
    outside = np.abs(boxes - inside).max(1)
    slightly = outside <= SLACK
    return np.where(slightly[:, None], inside, boxes), int((slightly & (outside > ROUNDING)).sum())


def spatial_boxes(spatial: Array) -> tuple[Array, tuple[float, float] | None]:
    """The boxes of `spatial_features`, told apart by their columns.

    Args:
        spatial: (objects, 6): xyxy, width, height in [0, 1]; or (objects, 7 or more): xyxy in pixels, height of the image in
            column 5 and width in column 6. Seven columns with xyxy, width and height in [0, 1] are read as six.

    Returns:
        (objects, 4), and the image's width and height where the boxes are in pixels, else None.

    Raises:
        ValueError: Columns 4 and 5 are not the size of a box in [0, 1]; the size of the image differs between its boxes.
    """
    spatial = np.asarray(spatial, np.float64)
    boxes = spatial[:, :4]
    if are_shares(boxes.min(), boxes.max(), _LARGE):
        difference = np.abs(boxes[:, 2:] - boxes[:, :2] - spatial[:, 4:6]).max()
        if difference > _SIZE_ERROR:
            raise ValueError(
                f"boxes of spatial_features are in [0, 1], but columns 4 and 5 differ from their width and height by up to "
                f"{difference:g}; allowed are xmin, ymin, xmax, ymax, width, height in [0, 1], or pixels in 7 columns and more."
            )
        return boxes, None
    if spatial.shape[1] < PIXEL_COLUMNS:
        return boxes, None  # refused as boxes outside [0, 1]
    height, width = spatial[0, 5], spatial[0, 6]
    if not (spatial[:, 5:7] == spatial[0, 5:7]).all():
        raise ValueError(
            f"columns 5 and 6 of spatial_features, height and width of the image, differ between boxes of one image "
            f"(from {spatial[:, 5:7].min(0).tolist()} to {spatial[:, 5:7].max(0).tolist()}); write the same for each."
        )
    return boxes, (float(width), float(height))


def _slack(size: Array) -> Array:
    return np.maximum(1.0, SLACK * size)
