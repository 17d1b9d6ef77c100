"""Keeps that depend neither on human importance nor on the model: nothing, a random part, a path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_count
from hf_guidance.views.batch import Batch
from hf_guidance.views.view import Keep


@dataclass(frozen=True)
class Nothing(Keep):
    """Keep nothing: every feature is replaced. This is the "null" input of perturbation methods."""

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask of one copy: (1, 1, *ones) bool, which broadcasts over images and places."""
        return torch.zeros(1, 1, *[1] * len(space), dtype=torch.bool)


@dataclass(frozen=True)
class RandomKeep(Keep):
    """Keep every place with probability 1 - s (code of arXiv 2206.11212, suff-random).

    The share s is drawn from ``drop`` for every image and copy.

    Args:
        drop: Shares of places that are replaced, each in [0, 1].
        copies: Independent draws, >= 1.

    Raises:
        ValueError: ``drop`` is empty or holds a share outside [0, 1], or ``copies`` is below 1.
    """

    drop: tuple[float, ...] = (0.1, 0.25, 0.5)
    copies: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop", checked_shares(type(self).__name__, "drop", self.drop))
        check_count("copies", self.copies, self)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask: (copies, images, *space) bool."""
        count = self.copies * batch.images
        share = drawn_share(self.drop, count).reshape(count, *[1] * len(space))
        keep: Tensor = (torch.rand(count, *space) >= share).unflatten(0, (self.copies, batch.images))
        return keep


@dataclass(frozen=True)
class Path(Keep):
    """Points on the straight line from the fill to the features: the midpoints ``(k + 1/2) / steps``, or random points.

    Midpoints are those of IntegratedGradients (arXiv 1703.01365, eq. 3). Random points are uniform in [0, 1], one per
    image and copy, shared by all features of the image (arXiv 1906.10670, Expected Gradients).

    Args:
        steps: Points, one copy each, >= 1.
        random: Whether the points are random.

    Raises:
        ValueError: ``steps`` is below 1.
    """

    steps: int = 16
    random: bool = False

    def __post_init__(self) -> None:
        check_count("steps", self.steps, self)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give one soft mask per point: (steps, 1, *ones) float64, or (steps, images, *ones) for random points."""
        ones = [1] * len(space)
        # On the CPU, because not every accelerator has float64.
        if self.random:
            return torch.rand(self.steps, batch.images, *ones, dtype=torch.float64)
        points = (torch.arange(self.steps, dtype=torch.float64) + 0.5) / self.steps
        return points.reshape(self.steps, 1, *ones)


def drawn_share(shares: tuple[float, ...], count: int) -> Tensor:
    """Draw one of the shares ``count`` times, uniformly: (count,) float32."""
    return torch.tensor(shares, dtype=torch.float32)[torch.randint(len(shares), (count,))]


def checked_shares(owner: str, name: str, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Give the shares as a tuple.

    Raises:
        ValueError: ``shares`` is empty, or a share lies outside [0, 1].
    """
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"{owner}({name}={shares!r}): give at least one share, each in [0, 1], as (0.1, 0.25, 0.5).")
    return tuple(shares)
