"""Keeps that choose places by their importance: to people, or to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from hf_guidance.views.batch import IMPORTANCE, Batch
from hf_guidance.views.keep import checked_shares, drawn_share
from hf_guidance.views.view import Keep, Needs, View


class Ranking(Protocol):
    """What a keep must know of the attribution method by which it ranks places."""

    def needs(self) -> Needs:
        """The (view, layer) pairs that the method reads."""


@dataclass(frozen=True)
class Important(Keep):
    """Keep what is important, ``importance > threshold`` (strict), or with ``invert`` the rest.

    In an image with several explained rows a place is important if it is to any of them; in an image without explained
    rows no place is.

    Args:
        threshold: Important is ``importance > threshold``.
        invert: Whether to keep the unimportant places instead.
        column: Column with human importance.
    """

    threshold: float = 0.5
    invert: bool = False
    column: str = IMPORTANCE

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask of one copy: (1, images, *space) bool."""
        important = batch.of_images(batch.importance(self.column, space)) > self.threshold
        return (important ^ self.invert)[None]


IMPORTANT = View(Important())
UNIMPORTANT = View(Important(invert=True))


@dataclass(frozen=True)
class ImportantOrRandom(Keep):
    """Keep what is important and a random part of the rest (arXiv 2206.11212, invariance; drawn as its code does).

    Per image a share p is drawn uniformly from {0, 1/n, ..., 1}, where n is the number of its unimportant places; then
    every unimportant place stays with probability p. An image without an important place keeps nothing. Padding
    (``visual_attention_mask`` zero) is not counted in n.

    Args:
        threshold: Important is ``importance > threshold``.
        column: Column with human importance.
    """

    threshold: float = 0.5
    column: str = IMPORTANCE

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask of one copy: (1, images, *space) bool."""
        important = batch.of_images(batch.importance(self.column, space)) > self.threshold
        real = batch.real_places(space)
        rest = ~important if real is None else ~important & real
        count = rest.flatten(1).sum(1)
        # Drawn by the CPU generator and then moved, so that the draws are the same on every device.
        uniform, places = (torch.rand(len(important), *size).to(important.device) for size in ((), space))
        # floor(u (n + 1)) is uniform in {0, ..., n}. Without unimportant places it is 0, and is divided by 1.
        share = (uniform * (count + 1)).floor() / count.clamp_min(1)
        ones = [1] * len(space)
        chosen = places < share.reshape(-1, *ones)
        some = important.flatten(1).any(1).reshape(-1, *ones)
        return ((important | chosen) & some)[None]


@dataclass(frozen=True)
class MostAttributed(Keep):
    """Keep the places to which the model attributes most (saliency-guided training, arXiv 2111.14338).

    Per explained row a share r is drawn from ``shares``. Sorted by attribution, descending and counted from 0, the
    places above the value at rank ``int(places * r)`` stay: ``int(places * r)`` places where no two values are equal
    (as in the code of arXiv 2206.11212). An image with several explained rows keeps what any of them keeps. Padding
    (``visual_attention_mask`` zero) is not counted in places, and does not stay.

    Args:
        attribution: The method that ranks the places. It may read the full input only, and gets no gradient.
        shares: Shares of places that stay, each in [0, 1].

    Raises:
        ValueError: ``attribution`` is not an attribution or reads edited views, or a share is outside [0, 1].
    """

    attribution: Ranking
    shares: tuple[float, ...] = (0.9, 0.75, 0.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", checked_shares(type(self).__name__, "shares", self.shares))
        check_ranking(self, self.attribution)

    def needs(self) -> Needs:
        """The (view, layer) pairs that the attribution reads."""
        return self.attribution.needs()

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask of one copy: (1, images, *space) bool.

        Raises:
            ValueError: The maps have another space than the features.
        """
        maps = batch.attribution(self.attribution).detach()
        if tuple(maps.shape[1:]) != tuple(space):
            raise ValueError(
                f"{self.attribution!r} gives maps of {tuple(maps.shape[1:])}, the features have {tuple(space)}; take the "
                "attribution at the layer that the view edits."
            )
        real = batch.real_places(space)
        if real is not None:
            real = batch.of_rows(real)
            maps = maps.masked_fill(~real, -torch.inf)  # so that padding is sorted last
        values = maps.flatten(1).sort(1, descending=True).values
        places = values.shape[1]
        share = drawn_share(self.shares, len(maps)).double()[:, None]
        if real is None:
            rank = (share * places + 1e-6).long()
        else:
            # The ranks for every possible number of real places, on the CPU, so that nothing waits for the accelerator.
            ranks = (share * torch.arange(places + 1) + 1e-6).long().to(values.device)
            rank = ranks.gather(1, real.flatten(1).sum(1, keepdim=True))
        # A share of 1 asks for the rank behind the last place: -inf there lets every place stay.
        values = torch.cat([values, torch.full_like(values[:, :1], -torch.inf)], 1)
        cutoff = values.gather(1, rank.to(values.device)).reshape(-1, *[1] * len(space))
        return batch.of_images((maps > cutoff).to(maps.dtype))[None] > 0


def check_ranking(owner: object, attribution: Any) -> None:
    """Refuse an attribution that cannot rank places before any edited view is called.

    Args:
        owner: The object whose field it is; its class is named in the error.
        attribution: The method.

    Raises:
        ValueError: ``attribution`` is not an attribution, or reads edited views.
    """
    given = f"{type(owner).__name__}(attribution={attribution!r})"
    needs = getattr(attribution, "needs", None)
    if needs is None or isinstance(attribution, type):
        raise ValueError(f"{given} is not an attribution; give one, for example Gradient().")
    others = sorted({repr(view) for view, _ in needs() if view.keep is not None})
    if others:
        raise ValueError(
            f"{given} reads {others}, which are not called before this view; choose one that reads the full input only, for "
            "example Gradient()."
        )
