"""Keep: which features stay in a view, and the keeps that look at nothing.

Random keeps draw from torch's global CPU generator, which checkpoints store. A view is drawn once per step, so all that
read equal views see one draw; views of different ``draw`` have draws of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hf_guidance.forward import Forward, Needs


@dataclass(frozen=True)
class Keep:
    """Base: which features stay. Boolean masks are hard (selected by where), floats in [0, 1] are soft (blended)."""

    def needs(self) -> Needs:
        """What the keep reads of the full input to decide; nothing by default."""
        return frozenset()

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
        """Give the mask (copies, batch, *space); axes of size one broadcast."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(forward, space).")


@dataclass(frozen=True)
class Nothing(Keep):
    """Keep nothing: every feature is replaced, the "null" input of perturbation methods."""

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
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
        checked_count(type(self).__name__, "copies", self.copies)

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
        """(copies, batch, *space) bool."""
        count = self.copies * forward.images
        share = drawn_share(self.drop, count).reshape(count, *[1] * len(space))
        keep: Tensor = (torch.rand(count, *space) >= share).unflatten(0, (self.copies, forward.images))
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
        if self.steps < 1:
            raise ValueError(f"Path(steps={self.steps}): give at least 1 step; 16 to 64 are usual.")

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
        """One copy a step: (steps, 1, *1) float, or (steps, batch, *1) where random."""
        ones = [1] * len(space)
        # On the CPU: not every accelerator has float64.
        if self.random:
            return torch.rand(self.steps, forward.images, *ones, dtype=torch.float64)
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


def checked_count(owner: str, name: str, count: int) -> None:
    """Refuse counts below one.

    Raises:
        ValueError: ``count`` is no integer, or below 1.
    """
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{owner}({name}={count!r}): give a whole number of at least 1.")
