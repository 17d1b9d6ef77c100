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

    w is the gradient with dynamic weights held constant, so the map is complete: it sums to the logit minus its bias.
    Training differentiates the map in full, dynamic weights included. At "final" the map is the head's map of the class
    divided by the number of places, in closed form.

    Note:
        Without dynamic weights in the model, w is the gradient, and the map equals that of InputXGradient.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.

    When to use:
        B-cos networks, at every layer; at the input they localised better than vanilla nets and X-DNNs by their methods
        (docs/model-guidance.md, R4). Costs no forward; one backward per slot from the logits to the layer, none at
        "final". On other models prefer InputXGradient, or IntegratedGradients on X-DNNs.

    Reference:
        Böhle, Fritz and Schiele, "B-cos Networks: Alignment is All We Need for Interpretability", CVPR 2022,
        arXiv 2205.10268, eq. 13.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, explain
        >>> from hf_guidance.attributions import BcosContribution
        >>> from hf_guidance.models import BcosResNetConfig, BcosResNetForImageClassification
        >>> from hf_guidance.objectives import Energy
        >>> guidance = Guidance(energy=Energy(BcosContribution(layer="final")))
        >>> config = BcosResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        >>> model = BcosResNetForImageClassification(config)
        >>> explain(model, torch.rand(2, 6, 32, 32), attribution=BcosContribution()).maps.shape
        (2, 32, 32)
    """

    def needs(self) -> Needs:
        """The logits and the activation at the layer; at "final" the class map instead of the activation."""
        return Needs([(FULL, LOGITS), (FULL, CLASS_MAP if is_final(self.layer) else self.layer)])

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        if is_final(self.layer) and forward.family.class_map is not None:
            maps = forward.activation(CLASS_MAP)
            return (forward.weights(self.target)[..., None, None] * maps).sum(1) / maps[0, 0].numel()
        gradient = forward.gradient(self.layer, self.target, fixed_weights=True)
        return over_channels(forward.activation(self.layer) * gradient)
