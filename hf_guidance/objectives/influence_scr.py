"""InfluenceSCR."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.attributions import Attribution, Gradient, SoftLabelLogits
from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward
from hf_guidance.objectives.checks import VARIANTS, check_threshold, has_important
from hf_guidance.objectives.objective import AttributionObjective, without_padding

_PROPOSALS = 5
_MARGIN = 1e-4
_EXCLUDED = 10_000.0
_SLACK = 1e-7


@dataclass(frozen=True)
class InfluenceSCR(AttributionObjective):
    """``L = min over i in I of sum over j not in I of max(0, A_j - A_i)`` (arXiv 1905.09998, influence strengthening).

    I holds the important boxes: at least one of them should have more influence than every box outside I. The smallest sum
    is that of the most influential box of I, so only that box is compared.

    Args:
        attribution: The gradient of the correct answers.
        threshold: I holds the boxes with ``importance > threshold``.
        variant: "official" is the loss of the code that arXiv 2206.11212 uses. The five boxes of highest importance are
            proposals; each is compared with every other box, with a margin of 1e-4; the proposal with the smallest positive
            sum of violations counts; the loss is the mean over the explained rows that have one. The mean is taken inside:
            use ``Term(..., reduction="sum")``.
        slack: For the official variant: a sum of at most this is not a violation. The code tests after multiplying by the
            term's weight w, so its slack is 1e-7 / w.

    Raises:
        ValueError: Unknown variant, negative slack, or threshold outside [0, 1].

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the threshold.
        labels: (images,) int64 or (images, classes) scores in [0, 1]; read by the attribution's default target,
            ``SoftLabelLogits``.

    When to use:
        Importance that says no more than important or not, where one of the important boxes is enough for the answer. Prefer
        RankingHINT to use the order of graded importance, and Alignment for accuracy: SCR did not beat unsupervised training
        in arXiv 2206.11212 (table 2).

    Reference:
        Wu and Mooney, "Self-Critical Reasoning for Robust Visual Question Answering", NeurIPS 2019, arXiv 1905.09998, the
        influence strengthening loss.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import AnswerLoss, InfluenceSCR
        >>> guidance = Guidance(task=AnswerLoss(), influence=Term(InfluenceSCR(), 1e-3))
        >>> InfluenceSCR.loss(torch.tensor([[1.0, 0.5, 3.0]]), torch.tensor([[1.0, 1.0, 0.0]]))  # map, importance
        tensor([2.])
    """

    attribution: Attribution = field(default_factory=lambda: Gradient(target=SoftLabelLogits()))
    threshold: float = 0.5
    variant: str = "paper"
    slack: float = _SLACK

    def __post_init__(self) -> None:
        super().__post_init__()
        check_threshold(self)
        check_choice("variant", self.variant, VARIANTS, self)
        if not self.slack >= 0:
            raise ValueError(
                f"InfluenceSCR(slack={self.slack}): give a number >= 0; 1e-7 / weight is the released code's."
            )

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows; in the paper's variant only those with an important box."""
        if self.variant == "official":
            return forward.annotated
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row; in the official variant its share of the mean over the batch."""
        values = super().__call__(forward)
        if self.variant == "paper":
            return values
        counted = (values > self.slack) & (forward.annotated > 0)
        return torch.where(counted, values, 0) / counted.sum().clamp_min(1)

    def compared(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """As in the base class; padding is NaN in the importance: it is not in I and is compared with nothing."""
        attribution, importance = super().compared(forward)
        return attribution, without_padding(forward, importance)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The paper's loss, or the violations of the proposal that the released code chooses."""
        if self.variant == "official":
            return chosen_proposal(attribution, importance, self.slack)[0]
        return self.loss(attribution, importance, threshold=self.threshold)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor, *, threshold: float = 0.5) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0; 0 where I is empty or holds all."""
        important = importance > threshold
        best = attribution.masked_fill(~important, -torch.inf).amax(1, keepdim=True)
        some = important.any(1, keepdim=True)
        excess = (attribution - torch.where(some, best, 0)).clamp_min(0)
        return torch.where(some & (importance <= threshold), excess, 0).sum(1)


def chosen_proposal(attribution: Tensor, importance: Tensor, slack: float = _SLACK) -> tuple[Tensor, Tensor, Tensor]:
    """The box (proposal) whose influence the released code strengthens, for each explained row.

    Args:
        attribution: (rows, n) signed.
        importance: (rows, n) in [0, 1]; NaN at padding.
        slack: A sum of violations of at most this is not a violation.

    Returns:
        Three tensors (rows,): the proposal's sum of violations, in the graph; its rank among the boxes by descending
        importance; and its box number. The released self-critical loss mistakes the rank for the box number.
    """
    real = ~importance.isnan()
    order = torch.sort(importance.masked_fill(~real, -torch.inf), dim=1, descending=True, stable=True).indices
    boxes = order.shape[1]
    proposals = min(_PROPOSALS, boxes)
    sorted_maps, hint, real = (values.gather(1, order) for values in (attribution, hinted(importance), real))
    rank = torch.arange(boxes, device=order.device)
    # (proposals, boxes): +1 where the proposal is ranked better than the other box, -1 where worse, 0 for itself
    sign = (rank - rank[:proposals, None]).sign().to(attribution.dtype)
    difference = sign * (sorted_maps[:, :proposals, None] - sorted_maps[:, None]) - _MARGIN
    better = sign * (hint[:, :proposals, None] - hint[:, None])
    compared = (sign != 0) & real[:, :proposals, None] & real[:, None]
    sums = torch.where(compared & (better * difference < 0), difference.abs(), 0).sum(2)
    active = sums.sum(1, keepdim=True) > slack
    cost = torch.where(active & (sums < slack), sums + _EXCLUDED, sums)
    chosen = cost.masked_fill(~real[:, :proposals], torch.inf).argmin(1, keepdim=True)
    return sums.gather(1, chosen)[:, 0], chosen[:, 0], order.gather(1, chosen)[:, 0]


def hinted(importance: Tensor) -> Tensor:
    """One for important boxes, else zero, as the released code of SCR decides it.

    Important is what exceeds the sixth largest importance of the explained row minus 1e-5, plus 0.1 where that is below 0.2.
    With fewer than six boxes the smallest importance takes its place. NaN marks padding, which is not important.
    """
    real = ~importance.isnan()
    values = importance.masked_fill(~real, -torch.inf).sort(1, descending=True).values
    sixth = (real.sum(1, keepdim=True) - 1).clamp(0, _PROPOSALS)
    cut = values.gather(1, sixth) - 1e-5
    return (importance > torch.where(cut < 0.2, cut + 0.1, cut)).to(importance.dtype)
