"""Pixel boxes against their image: cut where they leave it, refused where they cannot be meant so."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import is_turned
from hf_guidance.data.shares import are_shares

ROUNDED = "box less than a pixel outside the image, clipped"
CLIPPED = "box partly outside the image, clipped"
_ROUNDING = 1.0  # pixels: boxes that are rounded may end this far outside the image

Size = tuple[int, int]


def check_box(box: Sequence[float], width: int, height: int, item: str, hint: str = "") -> None:
    """Check one xyxy box (pixels, 0-based, half-open) against the size of its image.

    Args:
        box: xmin, ymin, xmax, ymax.
        width: width of the image in pixels.
        height: height of the image in pixels.
        item: names the image and the object in the error.
        hint: the usual cause of such a box, for the error.

    Raises:
        InvalidAnnotation: (a `ValueError`) for a box that is not finite, reversed, empty, or not inside the image.
    """
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)):
        reason = "box not finite"
    elif x1 < x0 or y1 < y0:
        reason = "box reversed"
    elif x1 == x0 or y1 == y0:
        reason = "box of zero width or height"
    elif x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        reason = "box outside the image"
    else:
        return
    allowed = f"0 <= xmin < xmax <= {width} and 0 <= ymin < ymax <= {height}"
    message = f"{reason}: ({_numbers(box)}) as xyxy, 0-based and half-open; allowed: {allowed}.{hint}"
    raise InvalidAnnotation(reason, item, message)


def clipped_box(box: Sequence[float], size: Size, item: str, hint: str = "") -> tuple[list[float], str]:
    """Cut what a box has outside its image.

    Args:
        box: xyxy in pixels, 0-based and half-open.
        size: (width, height) of the image.
        item: Names the image and the object in the error.
        hint: The usual cause of a box that cannot be used, for the error.

    Returns:
        The box inside the image; and the reason to count it, empty where nothing was cut.

    Raises:
        InvalidAnnotation: (a `ValueError`) The box is not finite, reversed, empty, or does not overlap the image.

    Example:
        >>> clipped_box([-3, 2, 10, 12], (40, 30), "a.jpg, object 0")
        ([0.0, 2.0, 10.0, 12.0], 'box partly outside the image, clipped')
    """
    x0, y0, x1, y1 = box
    overlaps = x0 < x1 and y0 < y1 and x0 < size[0] and y0 < size[1] and x1 > 0 and y1 > 0
    if all(map(math.isfinite, box)) and x0 <= x1 and y0 <= y1 and (overlaps or not leaves(box, size)):
        clipped = [min(max(float(value), 0.0), float(limit)) for value, limit in zip(box, (*size, *size), strict=True)]
        # What is left of a box that was outside by rounding may be empty.
        check_box(clipped, *size, item, hint)
        return clipped, "" if clipped == list(box) else CLIPPED if leaves(box, size) else ROUNDED
    check_box(box, *size, item, hint)
    return list(box), ""


def check_boxes(boxes: Sequence[Sequence[float]], size: Size, item: str, photo: str | os.PathLike[str] = "") -> None:
    """Check whether the boxes of one image, taken together, are in pixels of the image as it is decoded.

    Args:
        boxes: xyxy in pixels; those that are not finite do not count.
        size: (width, height) of the image, EXIF rotation applied.
        item: Names the image in the error.
        photo: Its file. Where its EXIF orientation swaps width and height, boxes drawn on the raw pixels are found too.

    Raises:
        InvalidAnnotation: (a `ValueError`) All boxes lie in [0, 1] or end just outside (see `are_shares`), so they are shares
            of the image; or one leaves the image, and all fit the raw pixels of a photo that EXIF turns.
    """
    boxes = [box for box in boxes if all(map(math.isfinite, box)) and box[0] < box[2] and box[1] < box[3]]
    if not boxes:
        return
    if are_shares(min(map(min, boxes)), max(map(max, boxes)), max(size)):
        message = (
            f"its boxes lie in [0, 1] or end just outside, such as ({_numbers(boxes[0])}), where pixels are meant; multiply x "
            f"by the image's width, {size[0]}, and y by its height, {size[1]}."
        )
        raise InvalidAnnotation("boxes in [0, 1]", item, message)
    outside = [box for box in boxes if leaves(box, size)]
    if photo and outside and not any(leaves(box, size[::-1]) for box in boxes) and is_turned(photo):
        raise InvalidAnnotation("boxes of the raw pixels of a turned photo", item, drawn_raw(outside[0], size))


def drawn_raw(box: Sequence[float], size: Size) -> str:
    """The message about a box that fits the raw pixels of a photo, but not the photo as EXIF turns it to ``size``."""
    return (
        f"box ({_numbers(box)}) leaves the image, {size[0]}x{size[1]}, but fits its raw pixels, {size[1]}x{size[0]}: EXIF "
        "turns the photo, and the boxes were drawn before that. Turn the boxes too, or remove the orientation from the photo."
    )


def leaves(box: Sequence[float], size: Size) -> bool:
    """Whether a box ends a pixel or more outside an image of (width, height)."""
    return not all(-_ROUNDING < v < limit + _ROUNDING for v, limit in zip(box, (*size, *size), strict=True))


def _numbers(box: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in box)
