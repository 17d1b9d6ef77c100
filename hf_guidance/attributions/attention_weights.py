"""AttentionWeights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution
from hf_guidance.forward import Forward
from hf_guidance.views.layers import ATTENTION, is_attention


@dataclass(frozen=True)
class AttentionWeights(Attribution):
    """A = the model's own attention over its boxes, from its outputs (UpDn; LXMERT: first token, last layer, mean of heads).

    No derivative is taken, so guidance on it costs a plain step. The target is not read.

    Raises:
        ValueError: On use, when the model has no attention over its features.

    Example:
        >>> guidance = Guidance(align=Alignment(AttentionWeights()))
    """

    layer: str = ATTENTION

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_attention(self.layer):
            raise ValueError(f"AttentionWeights(layer={self.layer!r}): the attention is the model's own; leave it out.")

    def __call__(self, forward: Forward) -> Tensor:
        """Read the attention, (rows, objects)."""
        return forward.activation(self.layer)
