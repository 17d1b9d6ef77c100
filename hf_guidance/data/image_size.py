"""The size of an image as rows hold it: PIL, an array of either layout, or bytes and a path that were not decoded."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from hf_guidance.data.images.pictures import ORIENTATION, TURNED, UNREADABLE

_CHANNELS = (1, 3, 4)


def image_size(image: Any) -> tuple[int, int] | None:
    """(height, width), EXIF applied where bytes or a path are decoded; None where it cannot be told.

    Args:
        image: A PIL image; an array, a tensor or a list (height, width), (height, width, channels) or (channels, height,
            width); or {"bytes", "path"} of ``datasets.Image(decode=False)``.
    """
    if isinstance(image, Mapping):
        return _stored_size(image)
    size = getattr(image, "size", None)
    if isinstance(size, tuple) and len(size) == 2 and not hasattr(image, "shape"):
        return (size[1], size[0])
    shape = _list_shape(image) if isinstance(image, list) else getattr(image, "shape", None)
    return None if shape is None else _array_size(tuple(map(int, shape)))


def _list_shape(image: Any) -> tuple[int, ...]:
    # By the first entries: NumPy would look at every number.
    if not isinstance(image, list):
        return ()
    return (len(image), *_list_shape(image[0] if image else None))


def _stored_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    content, path = image.get("bytes"), image.get("path")
    source = io.BytesIO(content) if content is not None else path
    if source is None:
        return None
    try:
        with Image.open(source) as opened:  # reads the head of the file only
            width, height = opened.size
            exif = Image.Image.getexif(opened)  # that of PNG would decode the file for EXIF behind its pixels
            return (width, height) if exif.get(ORIENTATION) in TURNED else (height, width)
    except UNREADABLE:  # a file that is not there, damaged, or no image
        return None


def _array_size(shape: tuple[int, ...]) -> tuple[int, int] | None:
    if len(shape) == 2:
        return (shape[0], shape[1])
    if len(shape) != 3 or (shape[0] in _CHANNELS) == (shape[2] in _CHANNELS):
        return None  # neither axis is of channels, or both could be
    return (shape[0], shape[1]) if shape[2] in _CHANNELS else (shape[1], shape[2])
