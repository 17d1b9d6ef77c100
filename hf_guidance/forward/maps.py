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


def full_precision(tensor: Tensor) -> Tensor:
    """Cast half precision to float32, because guidance is computed in full precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
