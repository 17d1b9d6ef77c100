"""Attention maps and masks of one channel: their values as they were written, or an error that says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import channel_values


def map_values(value: Any) -> npt.NDArray[np.float64]:
    """The values of a map, whatever their type: 8 or 16 bit, float, truth values.

    Args:
        value: A PIL image of one channel (see `channel_values`), or (height, width) numbers.

    Returns:
        (height, width) float64, not scaled.

    Raises:
        ValueError: Colours, several channels or frames, values that are no numbers, or an image that cannot be read.
    """
    try:
        pixels = channel_values(value, "") if isinstance(value, Image.Image) else np.asarray(value)
    except InvalidAnnotation as error:  # str(error) gives advice on building a dataset, which does not apply here
        raise ValueError(error.message) from None
    if pixels.ndim != 2:
        raise ValueError(f"it has shape {pixels.shape}; give one channel: the values behind the colours.")
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"it holds {pixels.dtype}, not numbers; give (height, width) numbers.")
    return pixels.astype(np.float64)
