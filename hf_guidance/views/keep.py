"""Keeps that look at neither people nor model: nothing, a random part, a path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_count
from hf_guidance.views.batch import Batch
from hf_guidance.views.view import Keep


@dataclass(frozen=True)
class Nothing(Keep):
    """Keep nothing: every feature is replaced, the "null" input of perturbation methods."""

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """One copy: (1, 1, *1) bool."""
        return torch.zeros(1, 1, *[1] * len(space), dtype=torch.bool)


@dataclass(frozen=True)
class RandomKeep(Keep):
    """Keep every place with probability 1 - s, s drawn per image from ``drop`` (arXiv 2206.11212's code, suff-random).

    Args:
        drop: Shares of places that are replaced, each in [0, 1].
        copies: Independent draws, >= 1.

    Raises:
        ValueError: No share, a share outside [0, 1], or no copy.
    """

    drop: tuple[float, ...] = (0.1, 0.25, 0.5)
    copies: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop", checked_shares(type(self).__name__, "drop", self.drop))
        check_count("copies", self.copies, self)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """(copies, batch, *space) bool."""
        count = self.copies * batch.images
        share = drawn_share(self.drop, count).reshape(count, *[1] * len(space))
        keep: Tensor = (torch.rand(count, *space) >= share).unflatten(0, (self.copies, batch.images))
        return keep


@dataclass(frozen=True)
class Path(Keep):
    """The straight path from fill to features: at the midpoints ``(k + 1/2) / steps``, or at random points.

    Midpoints are those of IntegratedGradients (arXiv 1703.01365, eq. 3); random points are uniform in [0, 1], one per
    image and step, shared by its features (arXiv 1906.10670, Expected Gradients).
    """

    steps: int = 16
    random: bool = False

    def __post_init__(self) -> None:
        check_count("steps", self.steps, self)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """One copy a step: (steps, 1, *1) float, or (steps, batch, *1) where random."""
        ones = [1] * len(space)
        # On the CPU: not every accelerator has float64.
        if self.random:
            return torch.rand(self.steps, batch.images, *ones, dtype=torch.float64)
        points = (torch.arange(self.steps, dtype=torch.float64) + 0.5) / self.steps
        return points.reshape(self.steps, 1, *ones)


def drawn_share(shares: tuple[float, ...], count: int) -> Tensor:
    """One of the shares for each of ``count`` images, uniformly: (count,) float32."""
    return torch.tensor(shares, dtype=torch.float32)[torch.randint(len(shares), (count,))]


def checked_shares(owner: str, name: str, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The shares as a tuple.

    Raises:
        ValueError: There is none, or one lies outside [0, 1].
    """
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"{owner}({name}={shares!r}): give at least one share, each in [0, 1], as (0.1, 0.25, 0.5).")
    return tuple(shares)
