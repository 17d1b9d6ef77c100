"""Keeps of the perturbation methods: one place in or out, and random coalitions of places."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_count
from hf_guidance.views.batch import Batch
from hf_guidance.views.view import Keep

_DRAWS = 100  # rounds of drawing, at most, until the coalitions are distinct
ONE_TELLS_NOTHING = "One coalition alone cannot tell places apart."


@dataclass(frozen=True)
class OneBox(Keep):
    """Keep one place per copy and replace the others; with ``leave_out`` replace that place and keep the others.

    Args:
        budget: Copies; None makes one per place, shared by the batch. Below the number of places ``budget`` places are
            drawn uniformly for every image, possibly the same place twice (arXiv 2206.11212, app. D). Padding
            (``visual_attention_mask`` zero) is not drawn.
        leave_out: Whether to replace the place instead of keeping it.

    Raises:
        ValueError: ``budget`` is below 1.
    """

    budget: int | None = None
    leave_out: bool = False

    def __post_init__(self) -> None:
        if self.budget is not None:
            check_count("budget", self.budget, self)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask: (places, 1, *space) bool, or (budget, images, *space) below the number of places."""
        places = math.prod(space)
        if self.budget is None or self.budget >= places:
            one = torch.eye(places, dtype=torch.bool)[:, None]
        else:
            # The largest of independent uniform numbers is at a uniformly random place; padding is -1, never the largest.
            drawn = torch.rand(self.budget, batch.images, places)
            real = batch.real_places(space)
            if real is not None:
                drawn = drawn.to(real.device).masked_fill(~real.flatten(1), -1.0)
            one = torch.zeros_like(drawn, dtype=torch.bool).scatter_(2, drawn.argmax(2, keepdim=True), True)
        keep: Tensor = (one ^ self.leave_out).unflatten(2, space)
        return keep


@dataclass(frozen=True)
class Coalitions(Keep):
    """Random coalitions of places, shared by the batch.

    The first copy keeps all places, every other copy keeps each place with probability 1/2. Empty, full and repeated
    coalitions are drawn again. From ``count = 2 ** places - 1`` on nothing is drawn: every coalition comes once, the
    empty one last and only from ``2 ** places`` copies on; no further copies are made. With fewer copies than places
    only ``count`` random places take part and the others are always replaced, so that a regression on the coalitions
    has no more unknowns than samples (arXiv 2206.11212, app. D); the first copy then keeps all places that take part.

    Args:
        count: Copies, >= 2.

    Raises:
        ValueError: ``count`` is below 2.
    """

    count: int = 16

    def __post_init__(self) -> None:
        check_count("count", self.count, self, 2, ONE_TELLS_NOTHING)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask: (count, 1, *space) bool, on the CPU; ``2 ** places`` copies at most."""
        places = math.prod(space)
        if self.count >= places:
            chosen = distinct_coalitions(self.count, places)
        else:
            part = torch.randperm(places)[: self.count]
            chosen = torch.zeros(self.count, places, dtype=torch.bool)
            chosen[:, part] = distinct_coalitions(self.count, self.count)
        keep: Tensor = chosen[:, None].unflatten(2, space)
        return keep


@dataclass(frozen=True)
class Flip(Keep):
    """A random coalition and the same with one random place flipped; shared by the batch (code of arXiv 2206.11212)."""

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask of two copies: (2, 1, *space) bool, on the CPU."""
        places = math.prod(space)
        first = torch.rand(places) < 0.5
        flipped = torch.arange(places) == torch.randint(places, ())
        keep: Tensor = torch.stack([first, first ^ flipped])[:, None].unflatten(2, space)
        return keep


def distinct_coalitions(count: int, places: int) -> Tensor:
    """Distinct coalitions, (min(count, 2 ** places), places) bool: the full one, then random ones that are not empty.

    Random coalitions hold each place with probability 1/2. From ``count = 2 ** places - 1`` on nothing is drawn: all
    coalitions are given, the empty one last, and only if ``count`` is ``2 ** places`` or more.
    """
    if count >= 2**places - 1:
        numbers = torch.arange(2**places - 1, -1, -1)[:count]
        return (numbers[:, None] >> torch.arange(places)) % 2 == 1
    rows = torch.ones(1, places, dtype=torch.bool)
    for _ in range(_DRAWS):
        if len(rows) >= count:
            break
        rows = torch.cat([rows, torch.rand(count, places) < 0.5])
        common = rows.float() @ rows.float().T
        size = common.diagonal()
        repeated = ((common == size) & (common == size[:, None])).tril(-1).any(1)
        rows = rows[~repeated & (size > 0)]
    return rows[:count]
