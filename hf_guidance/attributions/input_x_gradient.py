"""InputXGradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.forward import Forward


@dataclass(frozen=True)
class InputXGradient(Attribution):
    """``A = sum_ch f * (d score / d f)`` with f the input or the activation at a layer (arXiv 1605.01713).

    The second derivative flows through both factors: f is not detached. At the layer "final" of a (mean, Linear) head
    this is CAM, in closed form.

    Note:
        Directly before a LayerNorm the map is zero by scale invariance; the families capture behind it.

    Example:
        >>> guidance = Guidance(energy=Energy(InputXGradient(layer="final")))
    """

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        return over_channels(forward.activation(self.layer) * forward.gradient(self.layer, self.target))
