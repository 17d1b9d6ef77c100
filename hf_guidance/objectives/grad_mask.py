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
    """``L = sum(((1 - M) * d|y_0 - y_1| / dx)²)`` over channels and pixels (arXiv 1904.07478).

    The paper defines the loss for two classes. With more, y_0 is the explained class and y_1 the strongest other class.

    Args:
        attribution: The gradient of the contrast, with its channels kept.
        variant: "paper" squares the gradient; "official" takes its magnitude, as the authors' later code does.

    Raises:
        ValueError: Unknown variant.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``ContrastLogits``.

    When to use:
        Two classes and masks of the relevant pixels: gradients outside are penalised whichever class they favour. On boxes
        prefer InvarianceFI, or Alignment: squared gradients outside the important boxes did not beat unsupervised training in
        arXiv 2206.11212 (table 2), while Alignment raised accuracy most (table 4).

    Reference:
        Simpson, Dutil, Bengio and Cohen, "GradMask: Reduce Overfitting by Regularizing Saliency", 2019, arXiv 1904.07478.
        Later code: Viviano et al., "Saliency is a Possible Red Herring When Diagnosing Poor Generalization", 2019, arXiv
        1910.00199.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import GradMask
        >>> guidance = Guidance(gradmask=GradMask())
        >>> GradMask.loss(torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 0.0]]))  # gradient, mask
        tensor([4.])
    """

    attribution: Attribution = field(default_factory=lambda: Gradient(target=ContrastLogits(), channels="keep"))
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variant", self.variant, VARIANTS, self)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The sum of squares or of magnitudes, by ``variant``."""
        outside = (1 - importance) * attribution
        return outside.abs().sum(1) if self.variant == "official" else self.loss(attribution, importance)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        return ((1 - importance) * attribution).square().sum(1)
