"""Keeps of the perturbation methods: one place in or out, and random coalitions of places."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_count
from hf_guidance.views.batch import Batch
from hf_guidance.views.view import Keep

_DRAWS = 100
ONE_TELLS_NOTHING = "One coalition tells no place apart."


@dataclass(frozen=True)
class OneBox(Keep):
    """Keep one place and replace the others, or with ``leave_out`` the reverse; one copy a place.

    Args:
        budget: Copies; None is one for each place, shared by the batch. Below the number of places every image has
            ``budget`` uniformly random places of its own, the same place possibly twice (arXiv 2206.11212, app. D).
            Padding (``visual_attention_mask`` zero) is not drawn.
        leave_out: Replace the place instead of keeping it.

    Raises:
        ValueError: ``budget`` is below 1.
    """

    budget: int | None = None
    leave_out: bool = False

    def __post_init__(self) -> None:
        if self.budget is not None:
            check_count("budget", self.budget, self)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """(places, 1, *space) bool, or (budget, batch, *space) below the number of places."""
        places = math.prod(space)
        if self.budget is None or self.budget >= places:
            one = torch.eye(places, dtype=torch.bool)[:, None]
        else:
            # The largest of equally distributed numbers is at a uniformly random place, padding left out.
            drawn = torch.rand(self.budget, batch.images, places)
            real = batch.real_places(space)
            if real is not None:
                drawn = drawn.to(real.device).masked_fill(~real.flatten(1), -1.0)
            one = torch.zeros_like(drawn, dtype=torch.bool).scatter_(2, drawn.argmax(2, keepdim=True), True)
        keep: Tensor = (one ^ self.leave_out).unflatten(2, space)
        return keep


@dataclass(frozen=True)
class Coalitions(Keep):
    """Random coalitions of places, shared by the batch: everything, then each place with probability 1/2.

    Empty, full and repeated coalitions are drawn again. Where ``count`` reaches their number there are all of them, each
    once, the empty one last and only from ``2 ** places`` copies on; no further copies are made. With fewer
    copies than places only ``count`` random places take part and the others are always replaced, so that a regression on
    the coalitions has no more unknowns than samples (arXiv 2206.11212, app. D); the first copy then keeps all that take
    part.

    Args:
        count: Copies, >= 2.

    Raises:
        ValueError: ``count`` is below 2.
    """

    count: int = 16

    def __post_init__(self) -> None:
        check_count("count", self.count, self, 2, ONE_TELLS_NOTHING)

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """(count, 1, *space) bool, on the host; ``2 ** places`` copies at most."""
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
    """A random coalition, and the same with one random place flipped; shared by the batch (arXiv 2206.11212's code)."""

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Two copies: (2, 1, *space) bool, on the host."""
        places = math.prod(space)
        first = torch.rand(places) < 0.5
        flipped = torch.arange(places) == torch.randint(places, ())
        keep: Tensor = torch.stack([first, first ^ flipped])[:, None].unflatten(2, space)
        return keep


def distinct_coalitions(count: int, places: int) -> Tensor:
    """(min(count, 2 ** places), places) bool: the full row, then Bernoulli(1/2) rows, distinct and not empty.

    From ``2 ** places - 1`` on nothing is drawn: all rows, the empty one last if there is room for it.
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
