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

    One u per row and sample, shared by its features. Its expectation is IntegratedGradients with the same baseline.

    Args:
        layer: Where the path runs: the input, or the activation at a layer.
        target: Which score is explained.
        samples: Random points, >= 1; each costs a forward and a backward from the layer on.
        baseline: b, a Replace function; arXiv 2206.11212 takes -1. The marginal gives b from the batch, as
            arXiv 1906.10670 does.
        variant: "path", the formula above; "paper", with the factor b - f as arXiv 2206.11212 prints it; or "official":
            the mean gradient alone, as its code.

    Raises:
        ValueError: Fewer than 1 sample, or an unknown variant.

    Note:
        "paper" is the exact negative of "path": evidence for the score is negative there, against every other method, and
        an objective that rewards positive attribution trains against the evidence.

    Example:
        >>> guidance = Guidance(align=Alignment(ExpectedGradients(target=PredictedLogit())))
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
        """The full activation, and the points at the layer."""
        return Needs([(FULL, LOGITS), (FULL, self.layer), (self.path, LOGITS), (self.path, self.layer)])

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        slope = forward.gradient(self.layer, self.target, self.path).mean(0)
        if self.variant == "official":
            return over_channels(slope)
        along = forward.activation(self.layer) - forward.fill(self.path)
        return over_channels((along if self.variant == "path" else -along) * slope)
