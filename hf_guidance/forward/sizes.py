"""How many images go into one call of the model, where nobody says and no graph is kept."""

from __future__ import annotations

import torch
from torch import Tensor

# Pixels of all images of a call together. On a CPU activations stay in the caches, see docs/speed.md; a GPU must be filled.
_PIXELS = {"cpu": 32 * 112 * 112}
_PIXELS_OF_ACCELERATORS = 128 * 224 * 224
_ROWS = 256  # of features that are no images


def images_per_call(features: Tensor, device: torch.device | None = None) -> int:
    """Images per call, at least 1.

    Args:
        features: (images, ...) what the model reads; (images, channels, height, width) if they are images.
        device: Of the model; None for that of the features.
    """
    if features.dim() != 4:
        return _ROWS
    pixels = _PIXELS.get((device or features.device).type, _PIXELS_OF_ACCELERATORS)
    return max(1, pixels // max(1, features.shape[-2] * features.shape[-1]))
