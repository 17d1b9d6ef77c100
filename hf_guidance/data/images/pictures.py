"""Pixels of photos, maps and masks: turned as EXIF says, scaled by the range of their own mode, or refused by name."""

from __future__ import annotations

import os
import struct
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from hf_guidance.data.builder_base import RECORD_ERRORS, InvalidAnnotation
from hf_guidance.data.counting import count_and_log

__all__ = ["channel_values", "class_numbers", "grey_levels", "is_turned", "open_picture", "rgb", "verify_image"]

UNREADABLE = (OSError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError, *RECORD_ERRORS)
"""What Pillow raises for files that are cut off, damaged or not images."""
ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_SIXTEEN = 65535
_EIGHT = 255
_TWELVE = 4095
dark: Counter[str] = Counter()
"""Pictures of 16 bit that may hold numbers of 12, counted in this process; they are used as they are."""
_COLOURS = {"RGB": 3, "RGBA": 3, "RGBX": 3, "LA": 1}  # mode -> number of its colour channels; what follows is alpha


def verify_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read a photo to its end and return its size as `datasets` decodes it (EXIF rotation applied).

    Args:
        path: The file.

    Returns:
        (width, height) in pixels.

    Raises:
        InvalidAnnotation: (a `ValueError`) The file is unreadable or truncated, holds several frames, or pixels without a
            declared range (see `rgb`).
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION) in TURNED
            _check_frames(image, str(path))
            _check_range(image, str(path))
            image.draft("L", (1, 1))  # JPEG: reads every byte, but skips most of the arithmetic
            image.load()
            if _sixteen_bit(image):
                _check_sixteen(np.asarray(image), str(path))
    except InvalidAnnotation:
        raise
    except UNREADABLE as error:
        raise _unreadable(path, error) from None
    return (height, width) if turned else (width, height)


def is_turned(path: str | os.PathLike[str]) -> bool:
    """Whether the EXIF orientation of a photo swaps width and height, so that boxes drawn on its raw pixels do not fit."""
    with Image.open(path) as image:
        return image.getexif().get(ORIENTATION) in TURNED


def open_picture(path: str | os.PathLike[str] | BytesIO) -> Image.Image:
    """A picture of a file, or of its bytes, read to its end and turned as EXIF says, as `datasets` decodes it.

    Raises:
        InvalidAnnotation: (a `ValueError`) The file is unreadable or truncated, or holds several frames.
    """
    name = "the picture" if isinstance(path, BytesIO) else path
    try:
        with Image.open(path) as image:
            _check_frames(image, str(name))
            kind = image.format
            turned = ImageOps.exif_transpose(image)
            turned.load()
    except InvalidAnnotation:
        raise
    except UNREADABLE as error:
        raise _unreadable(name, error) from None
    turned.format = kind  # by which a 16-bit grey image of old Pillow is known
    return turned


def rgb(image: Image.Image, item: str) -> Image.Image:
    """A photo as RGB of 8 bit, turned as EXIF says. Grey values of 16 bit are scaled by 65535, where Pillow would clip them.

    Args:
        image: A PIL image. Transparency is dropped.
        item: Names it in errors.

    Raises:
        InvalidAnnotation: (a `ValueError`) The image has several frames, or holds floats or 32-bit integers, whose range no
            file declares; 16 bit of which only the lower 8 are used, which would be black; or it cannot be read. Where only
            the lower 12 are used, a dark photo may be meant: that is logged.
    """
    _check_frames(image, item)
    _check_range(image, item)
    try:
        turned = ImageOps.exif_transpose(image)
        if _sixteen_bit(image):
            values = np.asarray(turned)
            _check_sixteen(values, item)
            turned = Image.fromarray(np.round(values * (_EIGHT / _SIXTEEN)).astype(np.uint8))
        return turned.convert("RGB")
    except InvalidAnnotation:
        raise
    except UNREADABLE as error:
        raise _unreadable(item, error) from error


def grey_levels(image: Image.Image, item: str, faint: int = 1) -> npt.NDArray[np.float64]:
    """A map or a mask of one channel as numbers in [0, 1], turned as EXIF says.

    Truth values are 0 and 1, 8 bit is divided by 255, 16 bit by 65535; floats must lie in [0, 1] as they are. A grey palette
    stands for its greys. Colour modes pass where all channels are equal and transparency says nothing else.

    Args:
        image: A PIL image.
        item: Names it in errors.
        faint: Refuse 8 bit whose largest value is so small, but not 0. More than 1 where the size of the numbers matters: then
            2 or 3 are rather numbers of classes than levels.

    Returns:
        (height, width) float64.

    Raises:
        InvalidAnnotation: (a `ValueError`) Colours, transparency, a colour palette, several frames, 32-bit integers, NaN,
            floats outside [0, 1]; no pixel; or integers that hardly use their range, so that they may be numbers of another
            one: the largest is up to ``faint`` of 255, or up to 255 of 65535.
    """
    values = channel_values(image, item)
    if values.dtype == np.bool_:
        return values.astype(np.float64)
    if values.dtype.kind == "f":
        if not ((values >= 0) & (values <= 1)).all():  # written so that NaN is refused too
            message = f"it holds floats from {values.min():g} to {values.max():g}; allowed: 0 to 1. Scale it."
            raise InvalidAnnotation("map without a declared range", item, message)
        return values.astype(np.float64)
    _check_range(image, item)
    full, refused = (_SIXTEEN, _EIGHT) if _sixteen_bit(image) else (_EIGHT, faint)
    if 0 < values.max() <= refused:
        message = (
            f"its largest value is {values.max()}, of {full} or of {values.max()}? Save values up to {full}, or truth values "
            "(mode '1'), or floats in [0, 1]; numbers of classes belong in column 'mask'."
        )
        raise InvalidAnnotation("map without a declared range", item, message)
    if full == _SIXTEEN:
        _check_sixteen(values, item)
    return values / np.float64(full)


def channel_values(image: Image.Image, item: str) -> npt.NDArray[Any]:
    """The values of a map of one channel as they are stored, turned as EXIF says; those of a grey palette are its greys.

    Args:
        image: A PIL image. Colour modes pass where all channels are equal and transparency says nothing else.
        item: Names it in errors.

    Returns:
        (height, width), bool for mode "1".

    Raises:
        InvalidAnnotation: (a `ValueError`) Colours, transparency, a colour palette, several frames, or no pixel.
    """
    channel = _one_channel(image, item)
    if channel.mode == "P":
        if not _grey_palette(channel):
            raise _colours(item, "a palette of colours")
        channel = channel.convert("L")
    values = np.asarray(channel)
    if not values.size:
        raise InvalidAnnotation("image without a pixel", item, f"it is {image.width}x{image.height} and has no pixel.")
    return values


def class_numbers(image: Image.Image, item: str) -> npt.NDArray[Any]:
    """A mask that numbers classes, as the numbers that it holds, turned as EXIF says.

    Palette images give their indices, as the masks of PASCAL VOC mean them.

    Args:
        image: A PIL image.
        item: Names it in errors.

    Returns:
        (height, width), bool for mode "1".

    Raises:
        InvalidAnnotation: (a `ValueError`) Colours, transparency, several frames; or a palette of greys that are not the
            indices, so that either may be meant.
    """
    channel = _one_channel(image, item)
    values = np.asarray(channel)
    if channel.mode == "P" and _grey_palette(channel):
        greys = np.asarray(channel.convert("L"))
        if (greys != values).any():
            index = int(values[greys != values][0])
            message = (
                f"its palette shows index {index} as grey {greys[values == index][0]}, and either may be meant; save one "
                "channel: image.convert('L') for the greys, Image.fromarray(np.asarray(image)) for the indices."
            )
            raise InvalidAnnotation("mask with a palette of greys", item, message)
    return values


def _one_channel(image: Image.Image, item: str) -> Image.Image:
    _check_frames(image, item)
    try:
        turned = ImageOps.exif_transpose(image)
        pixels = np.asarray(turned)
    except UNREADABLE as error:
        raise _unreadable(item, error) from error
    if pixels.ndim == 2:
        return turned
    colours = _COLOURS.get(image.mode)
    if colours is None:
        raise _colours(item, f"mode {image.mode!r}")
    if (pixels[..., :colours] != pixels[..., :1]).any():
        raise _colours(item, f"colours (mode {image.mode!r})")
    grey, alpha = pixels[..., 0], pixels[..., -1]
    # Transparency must say the same as the grey: none at all, the grey itself, or where the grey is 0 anyway.
    if image.mode in ("LA", "RGBA") and (alpha != grey).any() and grey[alpha != _EIGHT].any():
        raise _colours(item, "transparent pixels")
    return Image.fromarray(np.ascontiguousarray(grey))


def _grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _sixteen_bit(image: Image.Image) -> bool:
    # Old Pillow opens 16-bit PNG as mode "I", and any Pillow 16-bit PGM, scaled to 65535.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _check_range(image: Image.Image, item: str) -> None:
    if image.mode in ("I", "F") and not _sixteen_bit(image):
        held = "floats" if image.mode == "F" else "integers of 32 bit"
        message = f"it holds {held} (mode {image.mode!r}) without a declared range; scale them and save 8 or 16 bit."
        raise InvalidAnnotation("image without a declared range", item, message)


def _check_sixteen(values: npt.NDArray[Any], item: str) -> None:
    # Numbers of 8 bit in a file of 16 would be black. Those of 10 or 12 would be dark, but so are pictures of the night.
    largest = int(values.max(initial=0))
    if largest <= _EIGHT and values.min(initial=largest) < largest:
        message = (
            f"it has 16 bit, but its largest value is {largest}, so it would be black; if its numbers reach up to {_EIGHT}, "
            "save 8 bit, else scale them up to 65535."
        )
        raise InvalidAnnotation("image without a declared range", item, message)
    if 0 < largest <= _TWELVE:
        reason = f"16-bit picture with no value above {_TWELVE} of 65535, as 12 bit in 16 have it (then scale it up)"
        count_and_log(dark, reason, 1, item, "hf_guidance.data.images.pictures.dark")


def _check_frames(image: Image.Image, item: str) -> None:
    # MPO is the JPEG of many cameras: its first frame is the photo, the others are previews.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        message = f"the file holds {frames} frames, and any may be meant; save one of them as a file of its own."
        raise InvalidAnnotation("image of several frames", item, message)


def _colours(item: str, found: str) -> InvalidAnnotation:
    message = f"it has {found}, where one channel is meant; save one channel of grey, not a coloured heat map."
    return InvalidAnnotation("colours for one channel", item, message)


def _unreadable(item: str | os.PathLike[str], error: BaseException) -> InvalidAnnotation:
    return InvalidAnnotation(
        "unreadable or truncated image", str(item), f"the image is unreadable or truncated ({error})."
    )
