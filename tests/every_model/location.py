"""The oracle: where an activation changes when one region of the image does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from every_model.candidate import clouds

CELLS = 3  # the image is divided into CELLS x CELLS regions
_FLOOR = 1.0  # of the mean change: well below it places count as equally little changed


@dataclass(frozen=True)
class Location:
    """How well the places of an activation follow the regions of the image.

    Attributes:
        hits: Share of the regions whose change is largest in the part of the map that lies where the region lies.
        fit: Correlation, over regions and places, of the change with the region's share of the place; 1 is the best.
        rows: Correlation of the height at which the change lies with the height of the region.
        columns: The same along the width.
        aside: How much better the fit is one place beside, on maps of 7 places or more; 0 is the best. Strides put it up to
            half a place beside.
    """

    hits: float
    fit: float
    rows: float
    columns: float
    aside: float

    @property
    def right(self) -> bool:
        """Whether the places lie where the regions do."""
        return self.hits > 0.5 and self.fit > 0.4 and min(self.rows, self.columns) > 0.8 and self.aside < 0.1

    def __str__(self) -> str:
        figures = f"fit {self.fit:.2f}, rows {self.rows:.2f}, columns {self.columns:.2f}, aside {self.aside:.2f}"
        return f"{self.hits:.2f} of regions found, {figures}"


def disturbed(images: Tensor, seed: int = 7, strength: float = 1.5) -> Tensor:
    """Copies of the images, each with other content in one region: (regions * images, channels, height, width)."""
    other = strength * clouds(len(images), (images.shape[-2], images.shape[-1]), seed).to(images.dtype)
    inside = regions(images.shape[-2], images.shape[-1])
    return torch.cat([torch.where(region > 0.5, other, images) for region in inside])


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
    change = (after.unflatten(0, (-1, len(before))) - before).double().norm(dim=2)
    height, width = change.shape[-2:]
    mean = change.mean((0, 2, 3), keepdim=True)
    if not bool(mean.isfinite().all() and (mean > 0).all()):
        return Location(0.0, 0.0, 0.0, 0.0, 0.0)
    relative = _centred((change / mean + _FLOOR).log().mean(1).flatten(1)).unflatten(1, (height, width))
    inside = regions(height, width).double()
    by_cell = torch.einsum("ahw,bhw->ab", relative, inside) / inside.sum((1, 2))
    truth = torch.arange(len(inside))
    fits = _fits(relative, _centred(inside.flatten(1)).unflatten(1, (height, width)))
    return Location(
        hits=float((by_cell.argmax(1) == truth).double().mean()),
        fit=_correlation(relative, _centred(inside.flatten(1)).reshape(relative.shape)),
        rows=_correlation(_middle(relative.mean(2)), truth // CELLS),
        columns=_correlation(_middle(relative.mean(1)), truth % CELLS),
        aside=max(fits.values()) - fits[0, 0],
    )


def _fits(relative: Tensor, inside: Tensor) -> dict[tuple[int, int], float]:
    # Of the map without its border, moved by up to one place along each axis.
    height, width = relative.shape[1:]
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)] if min(height, width) > 6 else [(0, 0)]
    return {
        (y, x): _correlation(relative[:, 1 + y : height - 1 + y, 1 + x : width - 1 + x], inside[:, 1:-1, 1:-1])
        for y, x in moves
    }


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(0, keepdim=True) - values.mean(1, keepdim=True) + values.mean()


def _middle(profile: Tensor) -> Tensor:
    # (regions, length) to (regions,): centre of what is above the mean.
    weight = (profile - profile.mean(1, keepdim=True)).clamp_min(0)
    places = torch.arange(profile.shape[1], dtype=profile.dtype)
    return (weight * places).sum(1) / weight.sum(1).clamp_min(torch.finfo(profile.dtype).tiny)


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = (values.double().flatten() - values.double().mean() for values in (one, other))
    scale = one.norm() * other.norm()
    return float(one @ other / scale) if scale > 0 else 0.0
