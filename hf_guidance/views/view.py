"""View, an edited copy of the features at a layer; Keep, what stays of them; Needs, what is read of which view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_guidance.views.batch import Batch
from hf_guidance.views.layers import INPUT
from hf_guidance.views.replace import Replace, check_replace, negative_ones


@dataclass(frozen=True)
class Keep:
    """Base: which features stay. Boolean masks are hard (selected by where), floats in [0, 1] are soft (blended).

    Random keeps draw from torch's global CPU generator, which checkpoints store. A view is drawn once per step, so
    every reader of an equal view sees the same draw. Views that differ in ``draw`` are drawn separately.
    """

    def needs(self) -> Needs:
        """The (FULL, layer) pairs that the keep reads to choose; none by default."""
        return Needs()

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask (copies, images, *space); axes of size one broadcast."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(batch, space).")


@dataclass(frozen=True, repr=False)
class View:
    """An edited copy of the features at a layer. Views compare by value: equal views are called once per step.

    Attributes:
        keep: What stays; None keeps everything.
        replace: What the rest is replaced by.
        draw: A number that makes two random views different that are otherwise equal, so that each has its own draw.
        layer: Where the edit happens; "input" edits the features that the model is given.

    Raises:
        ValueError: ``replace`` cannot be called as Replace functions are.
    """

    keep: Keep | None = None
    replace: Replace = negative_ones
    draw: int = 0
    layer: str = INPUT

    def __post_init__(self) -> None:
        check_replace(self.replace)  # type: ignore[arg-type]  # a Protocol cannot say that it is hashable

    def __repr__(self) -> str:
        # By name, because the address in a function's own repr differs from process to process.
        replace = getattr(self.replace, "__name__", repr(self.replace))
        return f"View(keep={self.keep!r}, replace={replace}, draw={self.draw!r}, layer={self.layer!r})"

    def fill(self, features: Tensor, importance: Tensor | None, keep: Tensor, real: Tensor | None) -> Tensor:
        """Give what the view puts in place of what it does not keep.

        Args:
            features: (images, channels, *space), the activation at the layer.
            importance: (images, *space) for the Replace function, or None.
            keep: (copies, images or 1, *space or ones), what stays.
            real: (images, *space) bool, False at padding; None where there is no padding.

        Returns:
            (images, channels, *space), or a scalar.
        """
        one = self.keep is not None and keep.dtype == torch.bool and len(keep) == 1
        replaced = ~keep[0].to(features.device).expand(len(features), *features.shape[2:]) if one else None
        places = {"real": real, "replaced": replaced} if getattr(self.replace, "sees_places", False) else {}
        fill = self.replace(features, importance, **places)
        return fill.expand_as(features) if fill.dim() else fill


FULL = View()


class Needs(Set[tuple[View, str]]):
    """What a method reads: pairs of a view and a layer, each once, in the order of declaration.

    A layer is "logits", "input", a symbolic layer or a module path; for FULL also "attention" or "class_map". Views are
    drawn and called in this order, so that every process and every repetition draws the same.

    Args:
        pairs: The pairs. A plain set has no order; its pairs are sorted by their repr.

    Example:
        >>> Needs([(FULL, "logits")]) | {(View(Nothing()), "logits")}
    """

    def __init__(self, pairs: Iterable[tuple[View, str]] = ()) -> None:
        ordered = sorted(pairs, key=repr) if isinstance(pairs, set | frozenset) else pairs
        self._pairs = dict.fromkeys(ordered)

    def __contains__(self, pair: object) -> bool:
        return pair in self._pairs

    def __iter__(self) -> Iterator[tuple[View, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"Needs({list(self._pairs)!r})"

    def __or__(self, other: Iterable[Any]) -> Needs:
        """The pairs of both, those of this one first."""
        return Needs([*self, *Needs(other)])

    def union(self, *others: Iterable[tuple[View, str]]) -> Needs:
        """This one and the others, in order, as a frozenset's ``union``."""
        return Needs([*self, *(pair for other in others for pair in Needs(other))])

    def __hash__(self) -> int:
        return self._hash()

    def __ror__(self, other: Iterable[Any]) -> Needs:
        """The pairs of both, those of the other first."""
        return Needs(other) | self
