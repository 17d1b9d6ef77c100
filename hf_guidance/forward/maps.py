"""Maps of any meaning: resizing, and bringing to full precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_maps(maps: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Resize maps, bilinear without antialias (as published code upsamples attributions) or by area (importance).

    Args:
        maps: (rows, height, width) or (rows, channels, height, width), floating point.
        size: (height, width) wanted.
        mode: ``"bilinear"`` (half-pixel centres) or ``"area"`` (average over the covered cells).

    Returns:
        Maps of the wanted size, other axes kept; the input itself if it has that size.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps if maps.dim() == 4 else maps[:, None]
    align = {"align_corners": False} if mode == "bilinear" else {}
    resized = F.interpolate(flat, size=tuple(size), mode=mode, **align)
    return resized if maps.dim() == 4 else resized[:, 0]


def onto_image(maps: Tensor, size: tuple[int, int], seen: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Resize maps of places to the size of an image: bilinear, with 0 where no place sees the image.

    Args:
        maps: (rows, height, width) or (rows, channels, height, width), floating point.
        size: (height, width) of the image.
        seen: (height, width) of the part that the places cover, as shares of the image's, from its upper left corner. More
            than 1 where they reach beyond the image; what lies outside is cut off.
    """
    if seen == (1.0, 1.0):
        return resize_maps(maps, size)
    height, width = (max(1, round(share * side)) for share, side in zip(seen, size, strict=True))
    resized = resize_maps(maps, (height, width))[..., : size[0], : size[1]]
    return F.pad(resized, (0, size[1] - resized.shape[-1], 0, size[0] - resized.shape[-2]))


def onto_places(values: Tensor, grid: tuple[int, int], seen: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Average the values of an image over the area of each place; outside of the image they count as 0.

    Args:
        values: (rows, height, width), floating point.
        grid: (height, width) of the places.
        seen: As for ``onto_image``.
    """
    if seen != (1.0, 1.0):
        height, width = (max(1, round(share * side)) for share, side in zip(seen, values.shape[1:], strict=True))
        values = values[:, :height, :width]
        values = F.pad(values, (0, width - values.shape[2], 0, height - values.shape[1]))
    return resize_maps(values, grid, "area")


def full_precision(tensor: Tensor) -> Tensor:
    """Cast half precision to float32, because guidance is computed in full precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
