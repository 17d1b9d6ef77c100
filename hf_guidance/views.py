"""Views: edited copies of the features, ``fill + keep * (features - fill)``.

Features are in canonical layout here: (batch, channels, *space), where space is (height, width) or (objects,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hf_guidance.forward import Forward

__all__ = [
    "FULL",
    "IMPORTANT",
    "UNIMPORTANT",
    "Important",
    "Keep",
    "Path",
    "Replace",
    "View",
    "gaussian",
    "marginal",
    "negative_ones",
    "shuffle",
    "zeros",
]

Replace = Callable[[Tensor, Tensor | None], Tensor]
"""(features, importance) to a fill that broadcasts against the features; importance is (batch, *space) or None."""


@dataclass(frozen=True)
class Keep:
    """Base: which features stay. Boolean masks are hard (selected by where), floats in [0, 1] are soft (blended)."""

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
        """Give the mask (copies, batch, *space); axes of size one broadcast."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(forward, space).")


@dataclass(frozen=True)
class Important(Keep):
    """Keep what is important: ``importance > threshold`` (strict); ``invert`` keeps the rest.

    An image with several explained rows keeps what is important to any of them, an image without keeps nothing.
    """

    threshold: float = 0.5
    invert: bool = False
    column: str = "importance"

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
        """One copy: (1, batch, *space) bool."""
        important = forward.of_images(forward.importance(self.column, space)) > self.threshold
        return (important ^ self.invert)[None]


@dataclass(frozen=True)
class Path(Keep):
    """The straight path from fill to features at the midpoints ``(k + 1/2) / steps`` (arXiv 1703.01365, eq. 3)."""

    steps: int = 16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Path(steps={self.steps}): give at least 1 step; 16 to 64 are usual.")

    def __call__(self, forward: Forward, space: tuple[int, ...]) -> Tensor:
        """One copy a step: (steps, 1, *1) float."""
        # On the CPU: not every accelerator has float64.
        points = (torch.arange(self.steps, dtype=torch.float64) + 0.5) / self.steps
        return points.reshape(self.steps, 1, *[1] * len(space))


def zeros(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with zeros: the mean image, where inputs are normalised."""
    return features.new_zeros(())


def negative_ones(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with -1 (arXiv 2206.11212, the default Replace function)."""
    return features.new_full((), -1.0)


def gaussian(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with N(m, s), m and s the mean and unbiased standard deviation over the whole batch tensor."""
    fixed = features.detach()
    return torch.randn_like(fixed) * fixed.std() + fixed.mean()


def marginal(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill every place with the features of a random place of the batch (one permutation of all places)."""
    places = features.movedim(1, -1)
    flat = places.reshape(-1, places.shape[-1])
    return flat[torch.randperm(len(flat), device=flat.device)].reshape(places.shape).movedim(-1, 1)


def shuffle(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with the image's own features in another order: one random permutation of its places per image."""
    flat = features.flatten(2)
    order = torch.rand(flat.shape[0], 1, flat.shape[2], device=flat.device).argsort(-1)
    return flat.gather(2, order.expand_as(flat)).reshape(features.shape)


@dataclass(frozen=True)
class View:
    """An edited copy of the features at a layer. Views compare by value: equal views are run once per step.

    Attributes:
        keep: What stays; None keeps everything.
        replace: What the rest is replaced by.
        draw: Tells two random views apart that are otherwise equal.
        layer: Where the edit happens; ``"input"`` edits the model's features.
    """

    keep: Keep | None = None
    replace: Replace = negative_ones
    draw: int = 0
    layer: str = "input"


FULL = View()
IMPORTANT = View(Important())
UNIMPORTANT = View(Important(invert=True))
