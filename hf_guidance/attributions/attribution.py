"""Attribution: the base class of every method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from hf_guidance.attributions.targets import LabelLogit, Target
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import INPUT, LOGITS


@dataclass(frozen=True)
class Attribution:
    """Base: where the model looks, as one map per explained row, differentiable in the model's parameters.

    An explained row is one (image, target) pair of a batch. Explained rows of the same image have different slots, so
    that one backward per slot gives the gradients of all explained rows.

    Attributes:
        layer: Where the map is taken: "input", "mid1", "mid2", "mid3", "final", or a module path.
        target: Which score is explained.
    """

    layer: str = INPUT
    target: Target = field(default_factory=LabelLogit)

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str) or not self.layer:
            raise ValueError(f"{type(self).__name__}(layer={self.layer!r}): give a name, for example 'final'.")
        if not isinstance(self.target, Target):
            raise ValueError(f"{type(self).__name__}(target={self.target!r}): give a Target, for example LabelLogit().")

    def needs(self) -> Needs:
        """The (view, layer) pairs that the method reads; by default logits and layer of the full input."""
        return Needs([(FULL, LOGITS), (FULL, self.layer)])

    def by_place(self) -> Self:
        """The method as it is shown and measured, with one number per place; itself unless its map keeps channels."""
        return self

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the signed map: (rows, *space), or (rows, features) at a layer that puts out vectors."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(forward).")


def over_channels(values: Tensor) -> Tensor:
    """Sum (rows, channels, *space) over channels; vectors (rows, features) have no channels and stay as they are."""
    return values.sum(1) if values.dim() > 2 else values
