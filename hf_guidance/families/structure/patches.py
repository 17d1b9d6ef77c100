"""The part of the image that belongs to one place, in nets that cut the image into patches."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from hf_guidance.families.layout import Layout


def patch_of(model: nn.Module, layout: Layout, grid: tuple[int, int], size: tuple[int, int]) -> Layout:
    """Add the patch to a layout, if the model's convolutions cut the image into patches that touch.

    They do if every strided convolution has a kernel of its stride, and no padding.

    Args:
        model: The model.
        layout: Of one layer.
        grid: (height, width) of its places for images of ``size``.
        size: (height, width) in pixels.
    """
    if grid == (1, 1):
        return layout
    strided = [m for m in model.modules() if isinstance(m, nn.Conv2d) and max(m.stride) > 1]
    if not strided or not all(m.kernel_size == m.stride and _unpadded(m) for m in strided):
        return layout
    if any(isinstance(m, nn.MaxPool2d | nn.AvgPool2d) for m in model.modules()):
        return layout
    if any(side % places for side, places in zip(size, grid, strict=True)):
        return layout
    return replace(layout, patch=(size[0] // grid[0], size[1] // grid[1]))


def _unpadded(convolution: nn.Conv2d) -> bool:
    return convolution.padding == "valid" or set(convolution.padding) == {0}
