"""InvarianceFI (Inv-FI)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from hf_guidance.attributions import Attribution, Gradient, SoftLabelLogits
from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward
from hf_guidance.objectives.checks import VARIANTS, check_threshold, has_important
from hf_guidance.objectives.normalizations import Normalization, UnitNorm
from hf_guidance.objectives.objective import AttributionObjective, without_padding

_DISTANCES = ("l1", "l2")


@dataclass(frozen=True)
class InvarianceFI(AttributionObjective):
    """``L = sum over unimportant boxes of |A / ||A||₂|`` (arXiv 2206.11212, eq. 5).

    The attribution is scaled to unit length over all boxes before the sum. Explained rows without important box do not count
    (appendix E).

    Args:
        normalization: ``Identity()`` penalises the raw attribution, as in the earlier work that the paper compares with.
        threshold: Unimportant is ``importance <= threshold``.
        distance: "l1", or "l2": squares instead of magnitudes (arXiv 1904.07478 takes squares of raw gradients).
        variant: "official" takes the mean over all boxes (without padding) instead of the sum, which is 1/15 or 1/36 of the
            paper's weight, and also counts explained rows without important box, where every box is penalised.

    Raises:
        ValueError: Unknown distance or variant, threshold outside [0, 1].

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the threshold.
        labels: (images,) int64 or (images, classes) scores in [0, 1]; read by the attribution's default target,
            ``SoftLabelLogits``.

    When to use:
        It is known which boxes must not count, and nothing should be asked of how the important ones share the attribution.
        The paper chose it over InvarianceDA as a part of VisFIS (table 11); prefer Alignment where importance is graded:
        alone it raised accuracy more (table 4).

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, eq. 5.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import Gradient, SoftLabelLogits
        >>> from hf_guidance.objectives import AnswerLoss, InvarianceFI
        >>> guidance = Guidance(task=AnswerLoss(), invariance=InvarianceFI(Gradient(target=SoftLabelLogits())))
        >>> InvarianceFI.loss(torch.tensor([[3.0, -4.0]]), torch.tensor([[1.0, 0.0]]))  # map, importance
        tensor([0.8000])
    """

    attribution: Attribution = field(default_factory=lambda: Gradient(target=SoftLabelLogits()))
    normalization: Normalization = field(default_factory=UnitNorm)
    threshold: float = 0.5
    distance: str = "l1"
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_threshold(self)
        check_choice("distance", self.distance, _DISTANCES, self)
        check_choice("variant", self.variant, VARIANTS, self)

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows with an important box; all annotated ones in the official variant."""
        if self.variant == "official":
            return forward.annotated
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def compared(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """As in the base class; padding is NaN in the importance: neither important nor unimportant."""
        attribution, importance = super().compared(forward)
        return attribution, without_padding(forward, importance)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The penalty of a map that is normalised already."""
        total = _penalty(attribution, importance, self.threshold, self.distance)
        return total / (~importance.isnan()).sum(1).clamp_min(1) if self.variant == "official" else total

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor, *, threshold: float = 0.5, distance: str = "l1") -> Tensor:
        """Attribution (rows, n) of any scale, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        return _penalty(UnitNorm()(attribution), importance, threshold, distance)


def _penalty(attribution: Tensor, importance: Tensor, threshold: float, distance: str) -> Tensor:
    unimportant = (importance <= threshold).to(attribution.dtype)
    entries = attribution.square() if distance == "l2" else attribution.abs()
    return (entries * unimportant).sum(1)
