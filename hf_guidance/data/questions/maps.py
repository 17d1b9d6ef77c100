"""Attention maps and masks of one channel: their values as they were written, or an error that says why not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_GREY = ("1", "L", "I", "F")  # and "I;16" with its byte orders: PIL's modes of one channel of values
_COLOUR = ("P", "PA", "LA", "RGB", "RGBA")  # grey pictures are saved in these too


def map_values(value: Any) -> npt.NDArray[np.float64]:
    """The values of a map, whatever their type: 8 or 16 bit, float, truth values.

    Args:
        value: A PIL image of one channel, or (height, width) numbers.

    Returns:
        (height, width) float64, not scaled.

    Raises:
        ValueError: A palette image, several channels, values that are no numbers, or an image that cannot be read.
    """
    if getattr(value, "mode", None) == "P":
        raise ValueError(
            "it is a palette image (mode 'P'), whose pixels are indices of colours; give one channel of values, for example "
            "by `.convert('L')`."
        )
    try:
        pixels = np.asarray(value)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the image cannot be read ({error}); replace the file.") from None
    if pixels.ndim != 2:
        raise ValueError(
            f"it has shape {pixels.shape}; give one channel: the values behind the colours, or `.convert('L')` of a grey "
            "picture."
        )
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"it holds {pixels.dtype}, not numbers; give (height, width) numbers.")
    return pixels.astype(np.float64)


def read_map(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an image file of one channel; a grey picture saved in colour has one channel too.

    Args:
        path: The file.

    Returns:
        (height, width) in the file's own type: bool, 8 or 16 bit, int32 or float32.

    Raises:
        ValueError: The picture has colours or is transparent: what value a colour stands for is not in the file.
    """
    with Image.open(path) as image:
        if image.mode in _GREY or image.mode.startswith("I;16"):
            return np.asarray(image)
        if image.mode in _COLOUR:
            channels = np.asarray(image.convert("RGBA"))
            opaque = (channels[..., 3] == 255).all()
            if opaque and (channels[..., :3] == channels[..., :1]).all():
                return channels[..., 0]
        raise ValueError(
            f"{path}: the picture has colours or is transparent (mode {image.mode!r}), and what value a colour stands for is "
            "not in it; save the values themselves as one channel."
        )


def mean_of_maps(maps: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """The mean of the maps of several annotators, in 8 bit.

    Args:
        maps: (height, width) each, of one size and type, finite and not negative.

    Returns:
        (height, width). The mean itself where it is made of whole numbers up to 255; else the mean scaled so that its largest
        value is 255. The scale of a map does not matter (see `box_importance_from_map`).

    Raises:
        ValueError: Maps of different size or type, or with NaN, infinity or negative values.
    """
    sizes, types = {each.shape[::-1] for each in maps}, {str(each.dtype) for each in maps}
    if len(sizes) > 1:
        raise ValueError(f"its {len(maps)} maps have sizes {sorted(sizes)}; give maps of one size.")
    if len(types) > 1:
        raise ValueError(
            f"its {len(maps)} maps have values of types {sorted(types)}, so of different range; save them alike."
        )
    mean = np.mean(np.stack(maps).astype(np.float64), 0)
    if not np.isfinite(mean).all() or any((each < 0).any() for each in maps if each.dtype.kind in "if"):
        raise ValueError("its maps hold NaN, infinity or negative values; replace them, for example by 0.")
    peak = mean.max(initial=0)
    if peak > 255 or (mean % 1 != 0).any():
        mean = mean / peak * 255
    return np.asarray(np.round(mean), np.uint8)
