"""Attention maps and masks of one channel: their values as they were written, or an error that says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from hf_guidance.common.checks import check_count
from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.columns import HUMAN_MAP
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


def checked_map_size(size: Any, owner: object) -> tuple[int, int]:
    """The (height, width) of maps as two whole numbers of at least 1.

    Raises:
        ValueError: ``size`` is anything else; the message names the class of ``owner``.
    """
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise ValueError(f"{type(owner).__name__}(map_size={size!r}): give (height, width), for example (14, 14).")
    for side in size:
        check_count("map_size", side, owner, hint="It is (height, width), for example (14, 14).")
    return int(size[0]), int(size[1])


def human_maps(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], annotated: Sequence[bool], size: tuple[int, int]
) -> Tensor:
    """The human attention maps of a batch at one size, whatever sizes the rows' have.

    A map is divided by its largest value, which leaves its ranks as they are, and averaged over the area of each of the new
    pixels.

    Args:
        rows: With the column ``mask``, where they are annotated.
        names: Of each row, for errors.
        annotated: Whether each row is.
        size: (height, width) wanted.

    Returns:
        (rows, *size) float32 in [0, 1]; zeros where a row has no map.

    Raises:
        ValueError: An annotated row has no map, or a map is no finite array of one channel with values of 0 and more.
    """
    return torch.stack(
        [_human_map(row.get("mask"), name, used, size) for row, name, used in zip(rows, names, annotated, strict=True)]
    )


def _human_map(given: Any, name: str, annotated: bool, size: tuple[int, int]) -> Tensor:
    if given is None:
        if annotated:
            raise ValueError(
                f"{name} is annotated and has no 'mask', the human map of which map_size={size} makes {HUMAN_MAP!r}; leave "
                "map_size out, or give rows without a map annotated=False."
            )
        return torch.zeros(size)
    try:
        pixels = map_values(given)
    except ValueError as error:
        raise ValueError(f"{name}, mask: {error}") from None
    if not pixels.size or not np.isfinite(pixels).all() or (pixels < 0).any():
        raise ValueError(f"{name}, mask: it is empty, or holds NaN, infinity or negative values; replace them by 0.")
    scaled = torch.from_numpy(pixels / (pixels.max() or 1.0))
    # Averaged in float64 and rounded to float32, so that the means of equal pixels stay equal.
    return functional.interpolate(scaled[None, None], size=size, mode="area")[0, 0].float()
