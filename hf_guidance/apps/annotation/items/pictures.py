"""Pictures of an image and of a map, at the size of the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["SIDE", "fitted", "heat", "map_alone", "map_over"]

SIDE = 320  # pixels of the longer side of a picture on the page
_Map = npt.NDArray[np.floating[Any]]


def fitted(image: Image.Image) -> tuple[Image.Image, float]:
    """An image whose longer side has 320 pixels, and by what it was scaled."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), scale


def heat(values: _Map, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A map at the size of a picture, in [0, 1]: max(m, 0) / max(m), resized; all zero where no value is above zero.

    Args:
        values: (h, w) numbers; those that are not finite count as zero.
        size: (width, height) of the picture.

    Returns:
        (height, width) float32.
    """
    positive = np.clip(np.where(np.isfinite(values), values, 0), 0, None).astype(np.float64)
    top = float(positive.max())
    scaled = (positive / top if top > 0 else positive).astype(np.float32)
    large: npt.NDArray[np.float32] = np.asarray(Image.fromarray(scaled).resize(size, Image.Resampling.BILINEAR))
    return large.clip(0, 1)


def map_over(image: Image.Image, values: _Map) -> Image.Image:
    """A map in red over an image: 60 % of red at its highest value."""
    share = 0.6 * heat(values, image.size)[..., None]
    over = np.asarray(image, np.float32) * (1 - share) + _red(image.size) * share
    return Image.fromarray(over.astype(np.uint8))


def map_alone(size: tuple[int, int], values: _Map) -> Image.Image:
    """A map in red on black.

    Args:
        size: (width, height) of the picture.
        values: (h, w) numbers.
    """
    return Image.fromarray((_red(size) * heat(values, size)[..., None]).astype(np.uint8))


def _red(size: tuple[int, int]) -> npt.NDArray[np.float32]:
    red = np.zeros((size[1], size[0], 3), np.float32)
    red[..., 0] = 255
    return red
