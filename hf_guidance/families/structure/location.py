"""Finds the layout of an activation: parts of the input are changed, and the places that change must lie there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hf_guidance.families.grid import grid_of
from hf_guidance.families.layout import Layout

_MOST_PREFIX_TOKENS = 40
_ROUNDING = 1
# Of ``follows``, which is about 0 for a wrong reading and at most 2/3 for a right one.
_FOLLOWS = 0.25


def quarters(base: Tensor, other: Tensor) -> Tensor:
    """The base image, then the base with one quarter taken from the other image: upper left and right, lower left and right.

    Args:
        base: (channels, height, width).
        other: (channels, height, width).

    Returns:
        (5, channels, height, width).
    """
    height, width = base.shape[1] // 2, base.shape[2] // 2
    images = base.repeat(5, 1, 1, 1)
    halves = [(slice(0, height), slice(height, None)), (slice(0, width), slice(width, None))]
    for index in range(4):
        rows, columns = halves[0][index // 2], halves[1][index % 2]
        images[index + 1, :, rows, columns] = other[:, rows, columns]
    return images


def corner_cells(base: Tensor, other: Tensor, grid: tuple[int, int]) -> Tensor:
    """The base image, then the base with the first and with the last cell of a grid taken from the other: (3, c, h, w)."""
    images = base.repeat(3, 1, 1, 1)
    height, width = base.shape[1] // grid[0], base.shape[2] // grid[1]
    images[1, :, :height, :width] = other[:, :height, :width]
    rows, columns = slice((grid[0] - 1) * height, grid[0] * height), slice((grid[1] - 1) * width, grid[1] * width)
    images[2, :, rows, columns] = other[:, rows, columns]
    return images


def readings(shape: tuple[int, ...], size: tuple[int, int]) -> Iterator[tuple[Layout, tuple[int, int]]]:
    """Every layout that an activation of this shape may have, with the grid (height, width) of its places.

    Args:
        shape: Of the activation, images first.
        size: (height, width) of the input in pixels.
    """
    if len(shape) == 4:
        for layout, (rows, columns) in ((Layout(1), shape[2:]), (Layout(-1), shape[1:3])):
            # As many rows to columns as the image has, up to what padding and rounding may add at each side.
            if abs(rows * size[1] - columns * size[0]) <= _ROUNDING * sum(size):
                yield layout, (rows, columns)
    elif len(shape) == 3:
        for prefix in range(min(_MOST_PREFIX_TOKENS, shape[1])):
            grid = grid_of(shape[1] - prefix, size)
            if grid is not None:
                yield Layout(-1, prefix), grid


def laid_out(activation: Tensor, layout: Layout, grid: tuple[int, int]) -> Tensor:
    """The activation as (images, channels, height, width)."""
    if activation.dim() == 3:
        tokens: Tensor = activation[:, layout.prefix_tokens :].transpose(1, 2).unflatten(2, grid)
        return tokens
    return activation if layout.channel_axis == 1 else activation.movedim(-1, 1)


def follows(maps: Tensor) -> tuple[float, float]:
    """How well change follows the changed quarter from top to bottom, and from left to right.

    With the change ``r_k(p) = |a_k(p) - a_0(p)|`` of place p when quarter k is changed, the excess is
    ``r_k(p) / mean_k r_k(p) - 1``, so that neither the size of an activation nor what spreads to all places alike counts.

    Args:
        maps: (5, channels, height, width), the activations of ``quarters``.

    Returns:
        Two values in [-1, 1]: about 0 if there is no relation, 2/3 if only the changed quarter changes.
    """
    change = (maps[1:].float() - maps[:1].float()).norm(dim=1).double().cpu()
    mean = change.mean(0)
    excess = torch.where(mean > 0, change / mean.clamp_min(1e-300) - 1, 0.0)
    total = excess.abs()
    found = []
    for axis, side in ((1, torch.tensor([-1, -1, 1, 1])), (2, torch.tensor([-1, 1, -1, 1]))):
        count = maps.shape[axis + 1]
        place = torch.sign(torch.arange(count) - (count - 1) / 2).double()
        shape = [1, 1, 1]
        shape[axis] = count
        agree = side.double().reshape(4, 1, 1) * place.reshape(shape)
        found.append(float((excess * agree).sum() / (total * agree.abs()).sum().clamp_min(1e-300)))
    return found[0], found[1]


def layout_of(activation: Tensor, size: tuple[int, int]) -> tuple[Layout, tuple[int, int]]:
    """Find how the activations of ``quarters`` map to places.

    Args:
        activation: (5, ...).
        size: (height, width) of the images in pixels.

    Returns:
        The layout, and the grid (height, width) of places.

    Raises:
        ValueError: No layout fits; the message says what was looked for.
    """
    shape = tuple(activation.shape)
    if len(activation) != 5 or not activation.is_floating_point():
        raise ValueError(f"its output {shape} for 5 images does not hold one activation for each image")
    if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)):
        return Layout(), (1, 1)
    tried = [
        (min(follows(laid_out(activation, layout, grid))), layout, grid)
        for layout, grid in readings(shape, size)
        if min(grid) > 1
    ]
    if not tried:
        raise ValueError(
            f"its output {shape[1:]} has no places; maps are (channels, height, width) or (height, width, channels), tokens "
            "(tokens, channels) that fill a grid with the image's proportions"
        )
    best = max(tried, key=lambda reading: reading[0])
    if not best[0] > _FOLLOWS:
        raise ValueError(
            f"when a quarter of the image changes, the places of its output {shape[1:]} that change do not lie there, whatever "
            "axis is read as channels (tokens that are not in raster order, or no places at all)"
        )
    return best[1], best[2]


def check_corners(activation: Tensor, layout: Layout, grid: tuple[int, int]) -> None:
    """Check that the first and the last cell lie where the layout says: no token is missing before or behind the places.

    Args:
        activation: (3, ...) activations of ``corner_cells``.
        layout: The layout that was found.
        grid: (height, width) of its places.

    Raises:
        ValueError: Another place changes most.
    """
    maps = laid_out(activation, layout, grid)
    change = (maps[1:].float() - maps[:1].float()).norm(dim=1).flatten(1)
    most = change.argmax(1).tolist()
    if most != [0, grid[0] * grid[1] - 1]:
        raise ValueError(
            f"read as {layout.prefix_tokens} tokens without a place and {grid[0]}x{grid[1]} places, the first and the last "
            f"place are numbers {most[0] + 1} and {most[1] + 1} of {grid[0] * grid[1]}"
        )
