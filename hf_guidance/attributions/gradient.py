"""Gradient (VGrad, saliency)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward

_CHANNELS = ("sum", "abs", "square", "keep")


@dataclass(frozen=True)
class Gradient(Attribution):
    """The gradient g = d score / d activation, reduced over channels.

    ``A = sum_ch g`` (arXiv 2206.11212, VGrad), or with ``channels`` = "abs" ``sum_ch |g|``, "square" ``sum_ch g²``,
    "keep" g itself, (rows, channels, *space), for losses on single entries (GradMask).

    Args:
        layer: Where the gradient is taken.
        target: Which score is explained.
        channels: Reduction over channels: "sum", "abs", "square" or "keep".

    Raises:
        ValueError: Unknown reduction.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.

    When to use:
        Objectives defined on plain gradients: HINT, GradMask, VisFIS, whose authors found it the best method for
        Alignment and Inv-FI together (arXiv 2206.11212, section 4). Costs no forward; one backward per slot from the
        logits to the layer, none at "final" of a (mean, Linear) head. The sign of the sum over channels need not tell
        whether a place supports the score (docs/questions.md), and at "final" of ConvNeXt the sum is 0: prefer
        InputXGradient, or other ``channels``.

    Reference:
        Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks: Visualising Image Classification Models
        and Saliency Maps", ICLR workshop 2014, arXiv 1312.6034. Sum over channels: Ying, Hase and Bansal, "VisFIS:
        Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives", NeurIPS 2022, arXiv
        2206.11212, app. A.

    Example:
        >>> import torch
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance import Guidance, explain
        >>> from hf_guidance.attributions import ContrastLogits, Gradient
        >>> from hf_guidance.objectives import GradMask
        >>> guidance = Guidance(gradmask=GradMask(Gradient(target=ContrastLogits(), channels="keep")))
        >>> model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
        >>> explain(model, torch.rand(2, 3, 32, 32), attribution=Gradient(channels="abs")).maps.shape
        (2, 32, 32)
    """

    channels: str = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("channels", self.channels, _CHANNELS, self)

    def by_place(self) -> Self:
        """With the magnitudes summed over channels where the map keeps them."""
        return replace(self, channels="abs") if self.channels == "keep" else self

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        gradient = forward.gradient(self.layer, self.target)
        if self.channels == "keep":
            return gradient
        if self.channels == "abs":
            return over_channels(gradient.abs())
        return over_channels(gradient.square() if self.channels == "square" else gradient)
