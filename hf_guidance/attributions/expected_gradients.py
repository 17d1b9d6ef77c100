"""ExpectedGradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution, over_channels
from hf_guidance.common.checks import check_choice, check_count
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Needs, Path, Replace, View, negative_ones
from hf_guidance.views.layers import LOGITS

_VARIANTS = ("path", "paper", "official")


@dataclass(frozen=True)
class ExpectedGradients(Attribution):
    """``A = sum_ch (f - b) * mean_i d score(b + u_i (f - b)) / d f``, u_i uniform in [0, 1] (arXiv 1906.10670).

    One u is drawn per image and sample, and shared by all features of the image. In expectation the map is that of
    IntegratedGradients with the same baseline.

    Args:
        layer: Where the path runs: the input, or the activation at a layer.
        target: Which score is explained.
        samples: Random points, >= 1; each costs one forward, and one backward from the logits to the layer.
        baseline: b, a Replace function; arXiv 2206.11212 takes -1. ``views.marginal`` takes b from the batch, as
            arXiv 1906.10670 does.
        variant: "path", the formula above; "paper", with the factor b - f as arXiv 2206.11212 prints it; or "official",
            the mean gradient without a factor, as the code of arXiv 2206.11212.

    Raises:
        ValueError: Fewer than 1 sample, or an unknown variant.

    Note:
        "paper" is the exact negative of "path": evidence for the score is negative there, unlike in every other method,
        and an objective that rewards positive attribution trains against the evidence.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.
        importance: optional, (rows, *space) in [0, 1]; handed to the Replace function, whose default ignores it.

    When to use:
        Alignment on models over boxes, for which arXiv 2206.11212 tuned it (app. F, one sample, PredictedLogit). Costs
        a forward of ``samples`` copies of the batch and one backward through them per slot. Prefer Gradient, which
        needs no further forward and did as well within noise (docs/questions.md), or IntegratedGradients where maps
        must not be random.

    Reference:
        Erion et al., "Improving Performance of Deep Learning Models with Axiomatic Attribution Priors and Expected
        Gradients", Nature Machine Intelligence 2021, arXiv 1906.10670. With -1 as baseline: Ying, Hase and Bansal,
        "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives", NeurIPS 2022,
        arXiv 2206.11212, app. A and D.

    Example:
        >>> import torch
        >>> from transformers import ResNetConfig, ResNetForImageClassification
        >>> from hf_guidance import Guidance, explain
        >>> from hf_guidance.attributions import ExpectedGradients, PredictedLogit
        >>> from hf_guidance.objectives import Alignment, AnswerLoss
        >>> guidance = Guidance(task=AnswerLoss(), align=Alignment(ExpectedGradients(target=PredictedLogit())))
        >>> model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
        >>> explain(model, torch.rand(2, 3, 32, 32), attribution=ExpectedGradients()).maps.shape
        (2, 32, 32)
    """

    samples: int = 1
    baseline: Replace = negative_ones
    variant: str = "path"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("samples", self.samples, self)
        check_choice("variant", self.variant, _VARIANTS, self)

    @property
    def path(self) -> View:
        """The view whose copies are the random points."""
        return View(Path(self.samples, random=True), self.baseline, layer=self.layer)

    def needs(self) -> Needs:
        """The activation of the full input at the layer, and the random points there."""
        return Needs([(FULL, LOGITS), (FULL, self.layer), (self.path, LOGITS), (self.path, self.layer)])

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        slope = forward.gradient(self.layer, self.target, self.path).mean(0)
        if self.variant == "official":
            return over_channels(slope)
        along = forward.activation(self.layer) - forward.fill(self.path)
        return over_channels((along if self.variant == "path" else -along) * slope)
