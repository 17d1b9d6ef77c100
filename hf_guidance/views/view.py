"""View: an edited copy of the features at a layer; Keep, what stays of them; Needs, which views a method reads where."""

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

    Random keeps draw from torch's global CPU generator, which checkpoints store. A view is drawn once per step, so all that
    read equal views see one draw; views of different ``draw`` have draws of their own.
    """

    def needs(self) -> Needs:
        """What the keep reads of the full input to decide; nothing by default."""
        return Needs()

    def __call__(self, batch: Batch, space: tuple[int, ...]) -> Tensor:
        """Give the mask (copies, images, *space); axes of size one broadcast."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(batch, space).")


@dataclass(frozen=True, repr=False)
class View:
    """An edited copy of the features at a layer. Views compare by value: equal views are run once per step.

    Attributes:
        keep: What stays; None keeps everything.
        replace: What the rest is replaced by.
        draw: Tells two random views apart that are otherwise equal.
        layer: Where the edit happens; ``"input"`` edits the model's features.

    Raises:
        ValueError: ``replace`` cannot be called as a Replace function is.
    """

    keep: Keep | None = None
    replace: Replace = negative_ones
    draw: int = 0
    layer: str = INPUT

    def __post_init__(self) -> None:
        check_replace(self.replace)  # type: ignore[arg-type]  # a Protocol cannot say that it is hashable

    def __repr__(self) -> str:
        # The name of the function: its address would differ from process to process.
        replace = getattr(self.replace, "__name__", repr(self.replace))
        return f"View(keep={self.keep!r}, replace={replace}, draw={self.draw!r}, layer={self.layer!r})"

    def fill(self, features: Tensor, importance: Tensor | None, keep: Tensor, real: Tensor | None) -> Tensor:
        """What the view replaces by in a step.

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
    """What a method reads, in the order of declaration: pairs of a view and a layer, each once.

    A layer is "logits", "input", a symbolic layer or a module path; of FULL "attention" and "class_map" too. The order
    decides in which order views are drawn and run, so that every process and every repetition draws alike.

    Args:
        pairs: The pairs. A plain set, which has no order, is taken in the order of its text.

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
        """Both, this one first."""
        return Needs([*self, *Needs(other)])

    def __ror__(self, other: Iterable[Any]) -> Needs:
        """Both, the other first."""
        return Needs(other) | self
