"""The part of the image that belongs to one place, in nets that cut the image into patches."""

from __future__ import annotations

from itertools import accumulate

from torch import nn

from hf_guidance.families.grid import fits

Patch = tuple[int, int]
_MERGED = tuple(2**i for i in range(7))  # places are merged two by two, by whatever module
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def patches_of(model: nn.Module) -> tuple[Patch, ...]:
    """The patches (height, width) in pixels that places may have, if the net cuts the image into patches that touch.

    It does if every strided convolution has a kernel of its stride and no padding, and nothing pools to a size of its own.
    The first patch is the stride of a convolution that reads the image; convolutions and mergers behind it make bigger ones.

    Returns:
        From small to big; () if the net is of another kind.
    """
    strided = [m for m in model.modules() if isinstance(m, nn.Conv2d) and max(m.stride) > 1]
    if not strided or not all(m.kernel_size == m.stride and _unpadded(m) for m in strided):
        return ()
    if any(isinstance(m, _POOLS) or (isinstance(m, _ADAPTIVE) and not _whole(m.output_size)) for m in model.modules()):
        return ()
    first = [m for m in strided if m.in_channels == strided[0].in_channels]
    later = accumulate((max(m.stride) for m in strided if m not in first), int.__mul__)
    factors = {*_MERGED, *later}
    sides = {(int(m.stride[0]), int(m.stride[1])) for m in first}
    return tuple(sorted({(height * factor, width * factor) for height, width in sides for factor in factors}))


def patch_of(patches: tuple[Patch, ...], grid: tuple[int, int], size: tuple[int, int]) -> Patch | None:
    """The patch that cuts an image into a grid of places; None if none does, or more than one.

    Args:
        patches: Those of ``patches_of``.
        grid: (height, width) in places.
        size: (height, width) of the image in pixels. It may be no multiple of the patch: nets leave the rest out, or pad.
    """
    if grid == (1, 1):
        return None
    exact = [p for p in patches if (p[0] * grid[0], p[1] * grid[1]) == size]
    found = exact or [p for p in patches if fits(grid, size, p)]
    if found or not patches:
        return found[0] if len(found) == 1 else None
    # Places may be merged by another number, three by three: then whole ones of the first patches.
    (height, width), first = (size[0] // grid[0], size[1] // grid[1]), patches[0]
    whole = (height * grid[0], width * grid[1]) == size and height % first[0] == 0 and width % first[1] == 0
    return (height, width) if whole else None


def _unpadded(convolution: nn.Conv2d) -> bool:
    return convolution.padding == "valid" or set(convolution.padding) == {0}


def _whole(output_size: object) -> bool:
    # None leaves an axis as it is.
    return {*(output_size if isinstance(output_size, tuple | list) else (output_size,))} <= {1, None}
