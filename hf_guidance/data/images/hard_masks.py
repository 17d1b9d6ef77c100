"""Hard masks (0 and 255 only) after an interpolation that blurs their edges."""

from __future__ import annotations

import torch
from torch import Tensor

_VISIBLE = 1e-3  # brightness in [0, 1]: less than one step of an 8-bit image, more than rounding errors


def is_hard(masks: Tensor) -> Tensor:
    """Which masks hold nothing between 0 and 255.

    Args:
        masks: (n, height, width) uint8.

    Returns:
        (n,) bool; an empty mask is hard.
    """
    return ((masks == 0) | (masks == 255)).flatten(1).all(1)


def sharpened(grey: Tensor) -> Tensor:
    """Threshold resized hard masks: a pixel of at least 0.5 is inside.

    A mask too thin to reach 0.5 anywhere keeps its brightest pixels. A mask that a crop cut away has no brightness left and
    stays empty.

    Args:
        grey: (n, height, width) in [0, 1], floating point.

    Returns:
        (n, height, width) bool.

    Example:
        >>> sharpened(torch.tensor([[[0.0, 0.6, 1.0]], [[0.0, 0.1, 0.2]]])).tolist()
        [[[False, True, True]], [[False, False, True]]]
    """
    bright = grey >= 0.5
    top = grey.flatten(1).amax(1)[:, None, None]
    lost = ~bright.flatten(1).any(1)[:, None, None]
    return torch.where(lost, (top > _VISIBLE) & (grey == top), bright)
