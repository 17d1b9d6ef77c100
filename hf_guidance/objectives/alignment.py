"""Alignment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward
from hf_guidance.objectives.checks import check_threshold, has_important
from hf_guidance.objectives.objective import AttributionObjective, without_padding

_EPSILON = 1e-12
_DISTANCES = ("cosine", "kl", "l1", "l2")


@dataclass(frozen=True)
class Alignment(AttributionObjective):
    """``L = 1 - cos(A, M)`` with signed attribution and continuous importance (arXiv 2206.11212, eq. 6).

    1e-12 is added to both squared norms; a zero vector on either side gives loss 1 and zero gradient.

    Args:
        distance: "cosine", or one of the distances that the paper tried (appendix F): "l1" ``mean |A - M|``, "l2"
            ``mean (A - M)²``, "kl" ``KL(M / sum M, softmax A)``, 0 where M is all zero. Means and softmax leave padding
            out.
        threshold: Explained rows without a place of ``importance > threshold`` do not count (appendix E); None counts every
            annotated row, as the released code does. The distance itself uses no threshold.

    Raises:
        ValueError: Unknown distance, or threshold outside [0, 1].

    Note:
        The paper prints the cosine with a plus sign, which would push maps away from the importance; its text and released
        code minimise 1 - cos. The code also divides "kl" by the number of boxes.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Graded importance of boxes: it is the best single objective for accuracy in the paper (table 4) and on shapes_vqa
        (docs/questions.md); the paper's best result adds Sufficiency, Uncertainty and InvarianceFI (``recipes.visfis``).
        Do not train from scratch with it on LeaveOneOut or KeepOneIn (docs/questions.md). For masks of pixels prefer Energy
        or L1.

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, eq. 6.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import Gradient
        >>> from hf_guidance.objectives import Alignment, AnswerLoss
        >>> guidance = Guidance(task=AnswerLoss(), align=Alignment(Gradient()))
        >>> Alignment.loss(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))  # map, importance
        tensor([0.2929])
    """

    distance: str = "cosine"
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("distance", self.distance, _DISTANCES, self)
        if self.threshold is not None:
            check_threshold(self)

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows; with a threshold only those with an important place."""
        if self.threshold is None:
            return forward.annotated
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def compared(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """As in the base class; padding is NaN in the importance, except for the cosine, to which padding adds nothing."""
        attribution, importance = super().compared(forward)
        return attribution, importance if self.distance == "cosine" else without_padding(forward, importance)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The chosen distance, without places whose importance is NaN (padding)."""
        if self.distance == "cosine":
            return self.loss(attribution, importance)
        real = ~importance.isnan()
        if self.distance == "kl":
            return _kl(attribution, importance.masked_fill(~real, 0), real)
        difference = torch.where(real, attribution - importance, 0)
        return (difference.abs() if self.distance == "l1" else difference.square()).sum(1) / real.sum(1).clamp_min(1)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n), to (rows,) in [0, 2]."""
        dot = (attribution * importance).sum(1)
        own, other = attribution.square().sum(1), importance.square().sum(1)
        # An all-zero map has no direction to correct, but the epsilon alone would give it a gradient of 1e6 * M: take none.
        squares = torch.where(own > 0, (own + _EPSILON) * (other + _EPSILON), 1)
        return 1 - torch.where(own > 0, dot, 0) / squares.sqrt()


def _kl(attribution: Tensor, importance: Tensor, real: Tensor) -> Tensor:
    mass = importance.sum(1, keepdim=True)
    share = importance / torch.where(mass > 0, mass, 1)
    own = torch.where(real, attribution.masked_fill(~real, -torch.inf).log_softmax(1), 0)
    # xlogy: places without importance add 0, not 0 * log 0.
    return (torch.xlogy(share, share) - share * own).sum(1)
