"""Attention maps and masks of one channel: their values as they were written, or an error that says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


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
