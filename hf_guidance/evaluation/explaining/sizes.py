"""How many images go into one call of the model, where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_PIXELS = {"cpu": 4 * 112 * 112}  # of all images of a call together; what is fastest there, see docs/speed.md
_PIXELS_OF_ACCELERATORS = 64 * 224 * 224


def images_per_call(shape: Sequence[int], device: torch.device) -> int:
    """Images per call, at least 1.

    On a CPU activations of a few images stay in the caches, on a GPU many are needed to fill it.

    Args:
        shape: (channels, height, width) of an image.
        device: Of the model.
    """
    pixels = _PIXELS.get(device.type, _PIXELS_OF_ACCELERATORS)
    return max(1, pixels // (shape[-2] * shape[-1]))


def check_counts(**counts: Any) -> None:
    """Raise for a number of images or of classes that is none; None chooses.

    Raises:
        ValueError: One is not a whole number of at least 1.
    """
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}={value!r}; give a whole number of at least 1, or None.")
