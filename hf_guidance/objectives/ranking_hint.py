"""RankingHINT."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.attributions import Attribution, Gradient
from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward
from hf_guidance.objectives.checks import VARIANTS
from hf_guidance.objectives.objective import AttributionObjective, without_padding

_PAIRS_AT_ONCE = 2**24


@dataclass(frozen=True)
class RankingHINT(AttributionObjective):
    """``L = sum over (i, j) with e_i > e_j and A_i < A_j of (A_j - A_i)``: misranked pairs (arXiv 1902.03751, eq. 3).

    e is the human importance, A the gradient of the answer's score, summed over the entries of a box (eq. 2). Boxes of equal
    e are not compared. The paper's baseline Attn. Align is the same loss on ``AttentionWeights()``.

    Args:
        variant: "official" is the re-implementation that arXiv 2206.11212 uses (HINT's authors published no code): the sum
            is divided by the number of boxes (without padding), and pairs with equal e count in both orders, which pulls
            equally important boxes to equal attribution.

    Raises:
        ValueError: Unknown variant.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Only the order of the importance is to be trusted, not its values; the paper fine-tunes a trained model on human
        attention maps, with the task loss weighted by 10. Prefer Alignment for accuracy: HINT did not beat unsupervised
        training in arXiv 2206.11212 (table 2), and on shapes_vqa it stayed within the noise (docs/questions.md).

    Reference:
        Selvaraju et al., "Taking a HINT: Leveraging Explanations to Make Vision and Language Models More Grounded", ICCV
        2019, arXiv 1902.03751, eq. 2 and 3.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.attributions import Gradient
        >>> from hf_guidance.objectives import AnswerLoss, RankingHINT
        >>> guidance = Guidance(task=Term(AnswerLoss(), 10.0), hint=RankingHINT(Gradient()))
        >>> RankingHINT.loss(torch.tensor([[0.0, 2.0, 3.0]]), torch.tensor([[1.0, 0.5, 0.0]]))  # all pairs misranked
        tensor([6.])
    """

    attribution: Attribution = field(default_factory=Gradient)
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variant", self.variant, VARIANTS, self)

    def compared(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """As in the base class; padding is NaN in the importance, so that no pair holds it."""
        attribution, importance = super().compared(forward)
        return attribution, without_padding(forward, importance)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The paper's sum, or the official mean with ties."""
        if self.variant == "paper":
            return self.loss(attribution, importance)
        return _misranked(attribution, importance, ties=True) / (~importance.isnan()).sum(1).clamp_min(1)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        return _misranked(attribution, importance, ties=False)


def _misranked(attribution: Tensor, importance: Tensor, ties: bool) -> Tensor:
    # The sum of differences is sum_i c_i A_i with whole numbers c_i that depend on the two rankings only: the graph holds n
    # entries, not n * n. The c_i of an explained row add up to zero, so the mean of A can be subtracted, which saves digits.
    fixed, level = attribution.detach(), importance.detach()
    count = torch.zeros_like(fixed)
    step = max(1, _PAIRS_AT_ONCE // max(1, fixed.numel()))
    for low, low_level, part in zip(fixed.split(step, 1), level.split(step, 1), count.split(step, 1), strict=True):
        above = low_level[:, :, None] >= level[:, None] if ties else low_level[:, :, None] > level[:, None]
        wrong = above & (low[:, :, None] < fixed[:, None])
        part -= wrong.sum(2)
        count += wrong.sum(1)
    return (count * (attribution - fixed.mean(1, keepdim=True))).sum(1)
