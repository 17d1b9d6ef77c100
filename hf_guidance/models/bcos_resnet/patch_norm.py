"""Squared lengths of the patches that a convolution reads, and filters of length 1."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_guidance.second_order.convolution import Geometry

EPS = 1e-6  # added to a sum of squares, as in the authors' code


def patch_squares(x: Tensor, kernel: tuple[int, int], geometry: Geometry) -> Tensor:
    """Sum of squares over every patch and the channels of its group, plus 1e-6; padding counts as 0.

    Squares are summed over the channels first, then over the places: one map per group is filtered, and none for 1x1.

    Args:
        x: (batch, channels, height, width).
        kernel: (height, width) of the patches.
        geometry: Stride, padding, dilation and groups of the convolution.

    Returns:
        (batch, groups, out_height, out_width) as the convolution's output; float32 if x is of half precision.
    """
    exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    grouped = exact.unflatten(1, (geometry.groups, -1))
    return box_sum((grouped * grouped).sum(2), kernel, geometry) + EPS


def box_sum(maps: Tensor, kernel: tuple[int, int], geometry: Geometry) -> Tensor:
    """Sum of every map over the patches: (batch, maps, height, width) -> (batch, maps, out_height, out_width)."""
    if kernel == (1, 1) and not any(geometry.padding):
        return maps[..., :: geometry.stride[0], :: geometry.stride[1]]
    return _filter(maps.shape[1], kernel, geometry).apply(maps, _ones(maps, kernel))


def box_spread(values: Tensor, like: Tensor, kernel: tuple[int, int], geometry: Geometry) -> Tensor:
    """The transpose of ``box_sum``: every place gets the sum of the values of the patches that it lies in.

    Args:
        values: (batch, maps, out_height, out_width).
        like: (batch, maps, height, width), for its shape; its dtype does not matter.
        kernel: As for ``box_sum``.
        geometry: As for ``box_sum``.
    """
    if kernel == (1, 1) and not any(geometry.padding):
        if set(geometry.stride) == {1}:
            return values
        spread = torch.zeros_like(like, dtype=values.dtype)
        spread[..., :: geometry.stride[0], :: geometry.stride[1]] = values
        return spread
    filtering, ones = _filter(like.shape[1], kernel, geometry), _ones(values, kernel)
    # Only its shape is read, but it needs the dtype of the values: not every kernel takes two dtypes in one call.
    shape = torch.empty_like(like, dtype=values.dtype)
    found = filtering.backward(values, shape, ones, False, [True, False, False])[0]
    assert found is not None
    return found


def _filter(maps: int, kernel: tuple[int, int], geometry: Geometry) -> Geometry:
    return Geometry(geometry.stride, geometry.padding, geometry.dilation, maps)


def _ones(maps: Tensor, kernel: tuple[int, int]) -> Tensor:
    return maps.new_ones(maps.shape[1], 1, *kernel)


def unit_filters(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Filters (out, ...) scaled to length 1, and 1 / length (out, 1...); both 0 for a filter of zeros."""
    length = torch.linalg.vector_norm(weight.flatten(1), dim=1).reshape(-1, *[1] * (weight.dim() - 1))
    stretch = torch.where(length > 0, 1 / length.clamp_min(torch.finfo(length.dtype).tiny), 0)
    return weight * stretch, stretch
