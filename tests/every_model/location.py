"""The oracle: where an activation changes when one region of the image does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CELLS = 3  # the image is divided into CELLS x CELLS regions
_FLOOR = 1  # of the mean change: below it places count as equally little changed


@dataclass(frozen=True)
class Location:
    """How well the places of an activation follow the regions of the image.

    Attributes:
        hits: Share of the regions whose change is largest in the part of the map that lies where the region lies.
        fit: Correlation, over regions and places, of the change with the region's share of the place; 1 is the best.
        rows: Correlation of the height at which the change lies with the height of the region.
        columns: The same along the width.
    """

    hits: float
    fit: float
    rows: float
    columns: float

    @property
    def right(self) -> bool:
        """Whether the places lie where the regions do. Bounds are from the nets of tests/families/test_every_model.py."""
        return self.hits >= 0.85 and min(self.rows, self.columns) >= 0.8 and self.fit >= 0.4

    def __str__(self) -> str:
        return f"{self.hits:.2f} of regions found, fit {self.fit:.2f}, rows {self.rows:.2f}, columns {self.columns:.2f}"


def disturbed(images: Tensor, seed: int = 7, strength: float = 3.0) -> Tensor:
    """Copies of the images, each with strong noise in one region: (regions * images, channels, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    noise = strength * torch.randn(images.shape, generator=generator, dtype=images.dtype)
    inside = regions(images.shape[-2], images.shape[-1])
    return torch.cat([torch.where(region > 0.5, noise, images) for region in inside])


def regions(height: int, width: int) -> Tensor:
    """The share of each place that lies in each region, (regions, height, width) in [0, 1], regions row by row."""
    down, across = _shares(height), _shares(width)
    return torch.einsum("ah,bw->abhw", down, across).flatten(0, 1)


def _shares(length: int) -> Tensor:
    # (CELLS, length): each place is the interval [i, i + 1) / length.
    edges = torch.arange(length + 1) / length
    start = torch.arange(CELLS)[:, None] / CELLS
    overlap = (torch.minimum(edges[1:], start + 1 / CELLS) - torch.maximum(edges[:-1], start)).clamp_min(0)
    return overlap * length


def located(before: Tensor, after: Tensor) -> Location:
    """Judge an activation.

    Args:
        before: (images, channels, height, width), of the images.
        after: (regions * images, channels, height, width), of ``disturbed(images)``.

    Returns:
        The judgement. Changes are compared after their means over regions (what a place answers to anything) and over places
        (how strong a disturbance is) are divided out, because attention spreads every disturbance over all places.
    """
    change = (after.unflatten(0, (-1, len(before))) - before).double().square().sum(2).mean(1).sqrt()
    height, width = change.shape[1:]
    inside = regions(height, width).double().flatten(1)
    change = change.flatten(1)
    largest = change.max()
    if not largest.isfinite() or largest <= 0:
        return Location(0.0, 0.0, 0.0, 0.0)
    log = (change + _FLOOR * change.mean()).log()
    relative = _centred(log)
    by_cell = relative @ inside.T / inside.sum(1)
    hits = (by_cell.argmax(1) == torch.arange(len(inside))).double().mean()
    fit = _correlation(relative.flatten(), _centred(inside).flatten())
    # Where along an axis the change lies: the mean over the other axis, weighted by what exceeds the mean of the axis.
    grid = relative.unflatten(1, (height, width))
    truth = torch.arange(len(inside))
    rows = _correlation(_middle(grid.mean(2)), truth // CELLS)
    columns = _correlation(_middle(grid.mean(1)), truth % CELLS)
    return Location(float(hits), float(fit), float(rows), float(columns))


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(0, keepdim=True) - values.mean(1, keepdim=True) + values.mean()


def _middle(profile: Tensor) -> Tensor:
    # (regions, length) to (regions,): centre of what is above the mean.
    weight = (profile - profile.mean(1, keepdim=True)).clamp_min(0)
    places = torch.arange(profile.shape[1], dtype=profile.dtype)
    return (weight * places).sum(1) / weight.sum(1).clamp_min(torch.finfo(profile.dtype).tiny)


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = (values.double() - values.double().mean() for values in (one, other))
    scale = one.norm() * other.norm()
    return float(one @ other / scale) if scale > 0 else 0.0
