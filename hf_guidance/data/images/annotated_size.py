"""What builders of boxes share: the size that an annotation gives its image, and the pixels that a box touches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import is_turned, verify_image

__all__ = ["EMPTY", "box_mask", "checked_size"]

EMPTY = "box of zero width or height"
"""The reason of `check_box` that builders treat on its own."""


def checked_size(image: str, written: Sequence[float], item: str, count: Callable[[str, str], None]) -> tuple[int, int]:
    """The (width, height) of an image, which must be what its annotation says.

    Args:
        image: The image file.
        written: Width and height in the annotation; 0 or NaN where there are none, which is counted.
        item: Names the annotation in errors and in the count.
        count: Takes a reason and ``item``.

    Raises:
        InvalidAnnotation: The file is unreadable, or of another size, or EXIF turns it: the boxes would not be in their place.
    """
    actual = verify_image(image)
    if not all(value > 0 for value in written):
        count("size missing or 0, read from the image", item)
    elif tuple(written) != actual:
        message = f"the annotation says {written[0]:g}x{written[1]:g}, the image is {actual[0]}x{actual[1]} ({image})."
        if tuple(written) != actual[::-1]:
            message += " Scale the annotation."
        elif is_turned(image):
            message += (
                " EXIF turns the photo, and it was annotated on its raw pixels: turn boxes, or remove the orientation."
            )
        else:
            message += " Width and height are swapped: turn the boxes, or correct the size."
        raise InvalidAnnotation("size of annotation and image differ", item, message)
    return actual


def box_mask(box: Sequence[float], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(height, width) booleans: every pixel that an xyxy box touches; none for a box of zero width or height."""
    mask = np.zeros(size[::-1], dtype=bool)
    if box[0] == box[2] or box[1] == box[3]:
        return mask
    mask[math.floor(box[1]) : math.ceil(box[3]), math.floor(box[0]) : math.ceil(box[2])] = True
    return mask
