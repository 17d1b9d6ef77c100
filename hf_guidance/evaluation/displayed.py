"""What a model is given, as people see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def displayed(pixels: Any, processor: Any) -> Array | None:
    """Images as they are seen, (images, height, width, 3) in [0, 1], of what a model is given.

    Args:
        pixels: (images, channels, height, width).
        processor: The image processor; its mean and deviation are undone. Without them every image is stretched to [0, 1].
    """
    values = np.asarray(pixels.detach().float().cpu() if hasattr(pixels, "detach") else pixels, float)
    if values.ndim != 4:
        return None
    values = (values[:, :3] if values.shape[1] >= 3 else values[:, :1].repeat(3, 1)).transpose(0, 2, 3, 1)
    mean, deviation = (np.asarray(getattr(processor, name, None)) for name in ("image_mean", "image_std"))
    if getattr(processor, "do_normalize", False) and mean.shape == deviation.shape == (3,):
        seen: Array = np.clip(values * deviation.astype(float) + mean.astype(float), 0, 1)
        return seen
    low = values.min((1, 2, 3), keepdims=True)
    stretched: Array = (values - low) / np.maximum(values.max((1, 2, 3), keepdims=True) - low, 1e-12)
    return stretched
