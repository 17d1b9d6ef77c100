"""GradMask."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from hf_guidance.attributions import Attribution, ContrastLogits, Gradient
from hf_guidance.common.checks import check_choice
from hf_guidance.objectives.checks import VARIANTS
from hf_guidance.objectives.objective import AttributionObjective


@dataclass(frozen=True)
class GradMask(AttributionObjective):
    """``L = sum(((1 - M) * d|y_0 - y_1| / dx)²)`` over channels and pixels (arXiv 1904.08478).

    With more than two classes, where the paper defines nothing, y_1 is the strongest other class.

    Args:
        attribution: The contrast gradient, channels kept.
        variant: "paper" squares the gradient; "official" takes its magnitude, as the authors' later code does.

    Raises:
        ValueError: Unknown variant.

    Example:
        >>> GradMask.loss(torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([4.])
    """

    attribution: Attribution = field(default_factory=lambda: Gradient(target=ContrastLogits(), channels="keep"))
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variant", self.variant, VARIANTS, self)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """Squares or magnitudes, by ``variant``."""
        outside = (1 - importance) * attribution
        return outside.abs().sum(1) if self.variant == "official" else self.loss(attribution, importance)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        return ((1 - importance) * attribution).square().sum(1)
