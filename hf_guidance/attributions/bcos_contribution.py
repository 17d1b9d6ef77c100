"""BcosContribution."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import CLASS_MAP, LOGITS, is_final


@dataclass(frozen=True)
class BcosContribution(Attribution):
    """``A = sum_ch f * w(f)``, w(f) the dynamic weights from layer to logit (arXiv 2205.10268, eq. 13; B-cos nets).

    w is the gradient with dynamic weights held constant, so the map is complete: it sums to logit minus bias. Training
    differentiates it in full, dynamic weights included. At "final" it is the class map of the head divided by its places,
    in closed form.

    Note:
        Without dynamic weights in the model, w is the gradient and the map that of InputXGradient.

    Example:
        >>> guidance = Guidance(energy=Energy(BcosContribution(layer="final")))
    """

    def needs(self) -> Needs:
        """The activation at the layer, or the class map instead of "final"."""
        return Needs([(FULL, LOGITS), (FULL, CLASS_MAP if is_final(self.layer) else self.layer)])

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        if is_final(self.layer) and forward.family.class_map is not None:
            maps = forward.activation(CLASS_MAP)
            return (forward.weights(self.target)[..., None, None] * maps).sum(1) / maps[0, 0].numel()
        gradient = forward.gradient(self.layer, self.target, fixed_weights=True)
        return over_channels(forward.activation(self.layer) * gradient)
