"""Patch tokens as a grid of places."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor


def tokens_to_grid(
    tokens: Tensor, prefix: int, image_size: tuple[int, int], patch: tuple[int, int] | None = None
) -> Tensor:
    """Lay out patch tokens as a grid of the image's aspect ratio.

    Args:
        tokens: (images, prefix + height * width, channels).
        prefix: Leading tokens without a place in the image (class, distillation, register).
        image_size: (height, width) of the image in pixels, which gives the aspect ratio.
        patch: (height, width) of a patch in pixels; None if unknown, then patches are square.

    Returns:
        (images, channels, height, width).

    Raises:
        ValueError: The tokens do not fill a grid of that aspect ratio.
    """
    count = tokens.shape[1] - prefix
    grid = grid_of(count, image_size, patch)
    if grid is None:
        raise ValueError(
            f"{tokens.shape[1]} tokens with {prefix} prefix tokens do not fill a grid for an image of "
            f"{image_size[0]}x{image_size[1]}; choose a layer whose output keeps one token per patch."
        )
    patches = tokens[:, prefix:].transpose(1, 2)
    maps: Tensor = patches.unflatten(2, grid)
    return maps


@lru_cache
def grid_of(count: int, image_size: tuple[int, int], patch: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """The (height, width) in tokens of an image that is cut into ``count`` patches; None if there is no such grid.

    Patches cover the image, which is padded to whole patches (rounded up) or cut to them (rounded down).
    """
    height, width = image_size
    if count < 1:
        return None
    if patch is not None:
        return next((grid for grid in _grids(height, width, *patch) if grid[0] * grid[1] == count), None)
    guess = (height * width / count) ** 0.5
    for side in sorted(range(1, max(image_size) + 1), key=lambda s: abs(s - guess)):
        for grid in _grids(height, width, side, side):
            if grid[0] * grid[1] == count:
                return grid
    return None


def fits(grid: tuple[int, int], image_size: tuple[int, int], patch: tuple[int, int]) -> bool:
    """Whether patches cut an image, or the image padded to whole patches, into this (height, width) of places."""
    sides = zip(grid, image_size, patch, strict=True)
    return all(places in (pixels // side, -(-pixels // side)) for places, pixels, side in sides)


def _grids(height: int, width: int, rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (-(-height // rows), -(-width // columns)), (height // rows, width // columns)
