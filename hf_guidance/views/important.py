"""Keeps that look at what is important: to people, or to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from hf_guidance.views.batch import Batch
from hf_guidance.views.keep import checked_shares, drawn_share
from hf_guidance.views.view import Keep, Needs, View


class Ranking(Protocol):
    """An attribution method, as far as a keep that ranks places by it must know."""

    def needs(self) -> Needs:
        """What the method reads."""


@dataclass(frozen=True)
class Important(Keep):
    """Keep what is important: ``importance > threshold`` (strict); ``invert`` keeps the rest.

    An image with several explained rows keeps what is important to any of them, an image without keeps nothing.
    """

    threshold: float = 0.5
    invert: bool = False
    column: str = "importance"

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """One copy: (1, batch, *space) bool."""
        important = batch.of_images(batch.importance(self.column, space)) > self.threshold
        return (important ^ self.invert)[None]


IMPORTANT = View(Important())
UNIMPORTANT = View(Important(invert=True))


@dataclass(frozen=True)
class ImportantOrRandom(Keep):
    """Keep what is important and a random part of the rest (arXiv 2206.11212, invariance; drawn as its code does).

    Per image a share p is drawn uniformly from {0, 1/n, ..., 1}, n the number of its unimportant places; then every
    unimportant place stays with probability p. An image without important place keeps nothing. Padding (where the
    batch has ``visual_attention_mask`` zero) is not counted in n.
    """

    threshold: float = 0.5
    column: str = "importance"

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """One copy: (1, batch, *space) bool."""
        important = batch.of_images(batch.importance(self.column, space)) > self.threshold
        real = batch.real_places(space)
        rest = ~important if real is None else ~important & real
        count = rest.flatten(1).sum(1)
        # On the CPU generator, then to the device: the same draws everywhere.
        uniform, places = (torch.rand(len(important), *size).to(important.device) for size in ((), space))
        # The draw of a part in n + 1; without unimportant place nothing can be chosen anyway.
        share = (uniform * (count + 1)).floor() / count.clamp_min(1)
        ones = [1] * len(space)
        chosen = places < share.reshape(-1, *ones)
        some = important.flatten(1).any(1).reshape(-1, *ones)
        return ((important | chosen) & some)[None]


@dataclass(frozen=True)
class MostAttributed(Keep):
    """Keep the places to which the model attributes most (saliency-guided training, arXiv 2111.14338).

    Per image a share r is drawn from ``shares``; places stay whose attribution exceeds the value at the descending rank
    ``int(places * r)`` (from 0), so ``int(places * r)`` of them where no two are equal (as arXiv 2206.11212's code).
    Padding (``visual_attention_mask`` zero) is not counted in places, and does not stay.

    Args:
        attribution: The method; it reads the full input only. No gradient flows through the choice.
        shares: Shares of places that stay, each in [0, 1].

    Raises:
        ValueError: The attribution is none or reads other views, or a share is outside [0, 1].
    """

    attribution: Ranking
    shares: tuple[float, ...] = (0.9, 0.75, 0.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", checked_shares(type(self).__name__, "shares", self.shares))
        check_ranking(self, self.attribution)

    def needs(self) -> Needs:
        """What the attribution reads."""
        return self.attribution.needs()

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """One copy: (1, batch, *space) bool.

        Raises:
            ValueError: The attribution has another space than the features.
        """
        maps = batch.attribution(self.attribution).detach()
        if tuple(maps.shape[1:]) != tuple(space):
            raise ValueError(
                f"{self.attribution!r} gives {tuple(maps.shape[1:])} per row, the features {tuple(space)}; take it "
                "at the layer that the view edits."
            )
        real = batch.real_places(space)
        if real is not None:
            real = batch.of_rows(real)
            maps = maps.masked_fill(~real, -torch.inf)  # sorted last
        values = maps.flatten(1).sort(1, descending=True).values
        places = values.shape[1]
        share = drawn_share(self.shares, len(maps)).double()[:, None]
        if real is None:
            rank = (share * places + 1e-6).long()
        else:
            # For every number of real places on the host, in float64; the device is not waited for.
            ranks = (share * torch.arange(places + 1) + 1e-6).long().to(values.device)
            rank = ranks.gather(1, real.flatten(1).sum(1, keepdim=True))
        # Behind the last rank nothing is cut off.
        values = torch.cat([values, torch.full_like(values[:, :1], -torch.inf)], 1)
        cutoff = values.gather(1, rank.to(values.device)).reshape(-1, *[1] * len(space))
        return batch.of_images((maps > cutoff).to(maps.dtype))[None] > 0


def check_ranking(owner: object, attribution: Any) -> None:
    """Refuse what cannot rank places before any view is run.

    Args:
        owner: The object whose field it is; its class is named in the error.
        attribution: The method.

    Raises:
        ValueError: ``attribution`` is not an attribution, or reads edited views.
    """
    given = f"{type(owner).__name__}(attribution={attribution!r})"
    needs = getattr(attribution, "needs", None)
    if needs is None:
        raise ValueError(f"{given} is not an attribution; give Gradient().")
    others = sorted({repr(view) for view, _ in needs() if view.keep is not None})
    if others:
        raise ValueError(
            f"{given} reads {others}, which runs beside this view; choose one that reads the full input only, for example "
            "Gradient()."
        )
