"""InputXGradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.forward import Forward


@dataclass(frozen=True)
class InputXGradient(Attribution):
    """``A = sum_ch f * (d score / d f)`` with f the input or the activation at a layer (arXiv 1605.01713).

    Training differentiates both factors: f is not detached. At the layer "final" of a (mean, Linear) head the map is
    CAM, in closed form.

    Note:
        Directly before a LayerNorm the map is zero, because the score does not change with the scale of f. Where a
        LayerNorm follows directly, the symbolic layer is therefore the output of the LayerNorm.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.

    When to use:
        The first choice for classifiers of images, and for boxes: on shapes_vqa it follows occlusion
        (docs/questions.md). Costs no forward; one backward per slot from the logits to the layer, none at "final" of a
        (mean, Linear) head: a guided step of a ResNet-18 takes 2.1 plain steps at the input and 1.0 at "final"
        (docs/speed.md). Prefer BcosContribution on B-cos nets, and IntegratedGradients where the map must be complete
        although the net has biases.

    Reference:
        Shrikumar, Greenside, Shcherbina and Kundaje, "Not Just a Black Box: Learning Important Features Through
        Propagating Activation Differences", 2016, arXiv 1605.01713. For guidance: Rao et al., "Using Explanations to
        Guide Models", ICCV 2023, arXiv 2303.11932, section 3.2.

    Example:
        >>> import torch
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance import Guidance, explain
        >>> from hf_guidance.attributions import InputXGradient
        >>> from hf_guidance.objectives import Energy
        >>> guidance = Guidance(energy=Energy(InputXGradient(layer="final")))
        >>> model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
        >>> explain(model, torch.rand(2, 3, 32, 32), attribution=InputXGradient()).maps.shape
        (2, 32, 32)
    """

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        return over_channels(forward.activation(self.layer) * forward.gradient(self.layer, self.target))
