"""Finds the layout of an activation: parts of the input are changed, and the places that change must lie there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hf_guidance.families.grid import fits, grid_of
from hf_guidance.families.layout import Layout
from hf_guidance.families.structure.patches import Patch, patch_of

_MOST_PREFIX_TOKENS = 40
_ROUNDING = 1
# Of ``follows``, which is about 0 for a wrong reading and at most 2/3 for a right one.
_FOLLOWS = 0.25
_NOTHING = 1e-6  # of an activation: a change that is no more than rounding


class Place(NamedTuple):
    """Where an activation has its places.

    Attributes:
        layout: Its layout, with the patch if that is known.
        grid: (height, width) of its places.
        tokens: Whether the places are in one axis, and not in two.
    """

    layout: Layout
    grid: tuple[int, int]
    tokens: bool = False


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


def corners(place: Place, size: tuple[int, int]) -> dict[str, tuple[slice, slice]]:
    """Two corners of the image, as slices of rows and of columns.

    The upper left corner is a quarter of the first place's part of the image: what is cut off there moves all places. The
    lower right corner is the last place's part, and what is left over behind it.

    Args:
        place: Whose grid, and patch, give the size of the corners.
        size: (height, width) of the image.
    """
    height, width = _cell(place, size)
    rows, columns = place.grid
    return {
        "upper left": (slice(0, max(1, height // 2)), slice(0, max(1, width // 2))),
        "lower right": (slice((rows - 1) * height, None), slice((columns - 1) * width, None)),
    }


def _cell(place: Place, size: tuple[int, int]) -> tuple[int, int]:
    return place.layout.patch or (size[0] // place.grid[0], size[1] // place.grid[1])


def corner_cells(base: Tensor, other: Tensor, place: Place) -> Tensor:
    """The base image, then the base with a part taken from the other image: each of ``corners``, for tokens the first cell.

    Args:
        base: (channels, height, width).
        other: (channels, height, width).
        place: As in ``corners``.

    Returns:
        (3, channels, height, width), for tokens (4, channels, height, width).
    """
    size = (base.shape[1], base.shape[2])
    height, width = _cell(place, size)
    parts = [*corners(place, size).values(), *([(slice(0, height), slice(0, width))] if place.tokens else [])]
    images = base.repeat(1 + len(parts), 1, 1, 1)
    for image, (down, across) in zip(images[1:], parts, strict=True):
        image[:, down, across] = other[:, down, across]
    return images


def readings(shape: tuple[int, ...], size: tuple[int, int], patches: tuple[Patch, ...] = ()) -> Iterator[Place]:
    """Every layout that an activation of this shape may have, without its patch.

    Args:
        shape: Of the activation, images first.
        size: (height, width) of the input in pixels.
        patches: That the places may have, beside square ones (``patches_of``).
    """
    if len(shape) == 4:
        for layout, (rows, columns) in ((Layout(1), shape[2:]), (Layout(-1), shape[1:3])):
            # As many rows to columns as the image has, up to what padding and rounding may add at each side.
            square = abs(rows * size[1] - columns * size[0]) <= _ROUNDING * sum(size)
            if square or any(fits((rows, columns), size, patch) for patch in patches):
                yield Place(layout, (rows, columns))
    elif len(shape) == 3:
        oblong = [patch for patch in patches if patch[0] != patch[1]]
        for prefix in range(min(_MOST_PREFIX_TOKENS, shape[1])):
            grids = {grid_of(shape[1] - prefix, size, patch) for patch in (None, *oblong)}
            yield from (Place(Layout(-1, prefix), grid, tokens=True) for grid in sorted(filter(None, grids)))


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


def place_of(activation: Tensor, size: tuple[int, int], patches: tuple[Patch, ...] = ()) -> Place:
    """Find how the activations of ``quarters`` map to places.

    Args:
        activation: (5, ...).
        size: (height, width) of the images in pixels.
        patches: That the places may have (``patches_of``).

    Returns:
        The layout, with the patch that fits, and the grid.

    Raises:
        ValueError: No layout fits; the message says what was looked for.
    """
    shape = tuple(activation.shape)
    if len(activation) != 5 or not activation.is_floating_point():
        raise ValueError(f"its output {shape} for 5 images does not hold one activation for each image")
    if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)):
        return Place(Layout(), (1, 1))
    tried = [
        (min(follows(laid_out(activation, place.layout, place.grid))), place)
        for place in readings(shape, size, patches)
        if min(place.grid) > 1
    ]
    if not tried:
        raise ValueError(
            f"its output {shape[1:]} has no places; maps are (channels, height, width) or (height, width, channels), tokens "
            "(tokens, channels) that fill a grid with the image's proportions (or that of the convolution's patches)"
        )
    follow, best = max(tried, key=lambda reading: reading[0])
    if not follow > _FOLLOWS:
        raise ValueError(
            f"when a quarter of the image changes, the places of its output {shape[1:]} that change do not lie there, whatever "
            "axis is read as channels (tokens that are not in raster order, patches that are not square, or no places at all)"
        )
    return best._replace(layout=replace(best.layout, patch=patch_of(patches, best.grid, size)))


def silent_corners(activation: Tensor, place: Place) -> list[str]:
    """The corners of the image that change nothing, or no more than rounding does.

    Args:
        activation: (3, ...) or (4, ...) activations of ``corner_cells``.
        place: The layout that was found.
    """
    maps = laid_out(activation, place.layout, place.grid)
    limit = _NOTHING * float(maps[0].float().norm(dim=0).amax())
    change = (maps[1:3].float() - maps[:1].float()).norm(dim=1).flatten(1).amax(1).tolist()
    return [name for name, largest in zip(("upper left", "lower right"), change, strict=True) if largest <= limit]


def check_ends(activation: Tensor, place: Place) -> None:
    """Check that the first and the last cell of the image change the first and the last token that has a place most.

    One token too many or too few before the places would shift all of them.

    Args:
        activation: (4, ...) activations of ``corner_cells``.
        place: The layout that was found.

    Raises:
        ValueError: Another place changes most.
    """
    maps = laid_out(activation, place.layout, place.grid)
    rows, columns = place.grid
    last, first = (maps[2:].float() - maps[:1].float()).norm(dim=1).flatten(1).argmax(1).tolist()
    if (first, last) != (0, rows * columns - 1):
        raise ValueError(
            f"read as {place.layout.prefix_tokens} tokens without a place and {rows}x{columns} places, the first and the last "
            f"place are numbers {first + 1} and {last + 1} of {rows * columns}"
        )
