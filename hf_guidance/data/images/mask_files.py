"""Masks that lie in files beside their photos: read, checked against the photo, and the box around what they show."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import grey_levels, open_picture

__all__ = ["read_mask", "tight_box"]

INSIDE = 128 / 255  # masks may be averages over annotators: a pixel is inside from about one half on


def read_mask(path: str, size: tuple[int, int], item: str) -> npt.NDArray[np.bool_]:
    """Where a mask of one channel shows its object: every pixel of one half (128 of 255) or more.

    Args:
        path: The file.
        size: (width, height) of the photo.
        item: Names the row in errors.

    Returns:
        (height, width) booleans, at least one of them True.

    Raises:
        InvalidAnnotation: (a `ValueError`) There is no such file, it is no mask (see `grey_levels`), it is of another size, or
            no pixel is inside.
    """
    if not os.path.isfile(path):
        raise InvalidAnnotation("label without mask", item, f"there is no mask {path}.")
    picture = open_picture(path)
    if picture.size != size:
        message = f"mask {path} is {picture.size}, the image {size} (width, height)."
        raise InvalidAnnotation("size of mask and image differ", item, message)
    mask = grey_levels(picture, path) >= INSIDE
    if not mask.any():
        raise InvalidAnnotation("empty mask", item, f"mask {path} holds no pixel of 128 (of 255) or more.")
    return np.asarray(mask)


def tight_box(mask: npt.NDArray[np.bool_]) -> list[float]:
    """The smallest xyxy box, 0-based and half-open, around all that a mask shows.

    Args:
        mask: (height, width) booleans, at least one of them True.

    Example:
        >>> tight_box(np.eye(4, dtype=bool)[1:3])
        [1.0, 0.0, 3.0, 2.0]
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
