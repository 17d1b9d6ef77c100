"""GradCAM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.attributions.attribution import Attribution
from hf_guidance.forward import Forward
from hf_guidance.views.layers import FINAL


@dataclass(frozen=True)
class GradCAM(Attribution):
    """``A = ReLU(sum_ch mean_hw(d score / d f) * f)`` (arXiv 1610.02391, eq. 1 and 2).

    At a layer that puts out vectors, as "fusion" of models of questions, ``A = (d score / d f) * f`` with ``relu=False``,
    entry by entry and signed: the Grad-CAM vector of SOrT (arXiv 2010.10038, eq. 1).

    Args:
        layer: A layer with places, usually "final", the last one; or with ``relu=False`` one with vectors, as "fusion".
        target: Which score is explained.
        relu: Whether negative values are set to 0, as the paper does.
        fixed_weights: Whether the weights of the channels count as constants when losses on the map are differentiated: the
            first-order form of code that takes them by a separate ``backward()``, as GRADIA's. The map is the same.

    Raises:
        ValueError: On use, when the layer puts out vectors, without places, and ``relu`` is on.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.

    When to use:
        Classifiers of images, at the last layer with places, where coarse maps of positive evidence are enough. Costs
        no forward; one backward per slot from the logits to the layer, none at "final" of a (mean, Linear) head, where
        the map is the ReLU of InputXGradient's. Prefer InputXGradient at other layers and for negative evidence, and
        BcosContribution on B-cos nets.

    Reference:
        Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
        arXiv 1610.02391, eq. 1 and 2. Vectors: Dharur et al., "SOrT-ing VQA Models: Contrastive Gradient Learning for
        Improved Consistency", NAACL 2021, arXiv 2010.10038, eq. 1.

    Example:
        >>> import torch
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance import Guidance, explain
        >>> from hf_guidance.attributions import GradCAM
        >>> from hf_guidance.objectives import Energy
        >>> guidance = Guidance(energy=Energy(GradCAM(layer="final")))
        >>> model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
        >>> explain(model, torch.rand(2, 3, 32, 32), attribution=GradCAM()).maps.shape
        (2, 32, 32)
    """

    layer: str = FINAL
    relu: bool = True
    fixed_weights: bool = False

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map, (rows, *space), or (rows, features); it holds no negative values unless ``relu`` is off."""
        activation = forward.activation(self.layer)
        if activation.dim() < 3 and self.relu:
            raise ValueError(
                f"GradCAM(layer={self.layer!r}): the layer puts out vectors {tuple(activation.shape)} without places; "
                "choose a layer with maps, for example 'final', or relu=False for the signed vector of SOrT."
            )
        gradient = forward.gradient(self.layer, self.target)
        weights = gradient.flatten(2).mean(2) if activation.dim() > 2 else gradient
        weights = weights.detach() if self.fixed_weights else weights
        if activation.dim() < 3:
            return weights * activation
        cam = torch.einsum("rc,rcn->rn", weights, activation.flatten(2)).unflatten(1, activation.shape[2:])
        maps: Tensor = cam.clamp_min(0) if self.relu else cam
        return maps
