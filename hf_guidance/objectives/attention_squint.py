"""AttentionSQuINT."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.attributions import AttentionWeights, Attribution
from hf_guidance.data.columns import REASONING, SUB_QUESTION
from hf_guidance.forward import Forward
from hf_guidance.objectives.objective import Objective
from hf_guidance.objectives.question_groups import at_rows, group_rows, lacking
from hf_guidance.views import Needs


@dataclass(frozen=True)
class AttentionSQuINT(Objective):
    """``L = mean_k (A_R,k - A_S,k)²``: a reasoning question looks at the boxes that its sub-question looks at.

    A is the attention of a question over the boxes k of the image, R the reasoning question and S its sub-question (arXiv
    2001.06927). Boxes that are padding are left out of the mean. Both sides carry gradients. The loss of a pair stands at the
    row of its reasoning question; irrelevant questions are not read, and groups without sub-question do not count.

    Args:
        attribution: The method that makes A; of the paper, the model's own attention.

    Raises:
        ValueError: ``attribution`` is not one.

    Note:
        Neither the paper nor code of its authors was at hand: that the distance is a mean of squares is unverified, its weight
        is not known, and padding is left out as everywhere in this library.

    Columns:
        role: list of one per question, explained or not: 0 reasoning question, 1 sub-question, 2 irrelevant question.
        group: list of one per question: equal numbers >= 0 are one group, -1 stands alone.
        compared_as: optional, list of one per question: the role as which it is compared, as of a control.
        annotated: optional, list of one per explained row: whether it has a score to explain; others are not compared.

    When to use:
        As ContrastiveSOrT, where a plain step must do: no derivative is taken. Attention is small, and so is the loss (1 /
        boxes² at the order of magnitude): its weight must be large. Models that attend to boxes only.

    Reference:
        Selvaraju et al., "SQuINTing at VQA Models: Introspecting VQA Models with Sub-Questions", CVPR 2020, arXiv 2001.06927.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import AttentionSQuINT, RoleAnswerLoss
        >>> guidance = Guidance(task=RoleAnswerLoss(), squint=Term(AttentionSQuINT(), weight=10.0))
        >>> AttentionSQuINT.loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]]))  # of both questions, over two boxes
        tensor([0.2500])
    """

    attribution: Attribution = field(default_factory=AttentionWeights)

    def __post_init__(self) -> None:
        if not isinstance(self.attribution, Attribution):
            raise ValueError(
                f"AttentionSQuINT(attribution={self.attribution!r}) is not an attribution; give AttentionWeights()."
            )

    def needs(self) -> Needs:
        """What the attribution reads."""
        return self.attribution.needs()

    def rows(self, forward: Forward) -> Tensor:
        """One at the reasoning question of every group with a sub-question, else zero."""
        first = group_rows(forward, (REASONING, SUB_QUESTION))[0]
        return at_rows(forward, first, torch.ones(len(first), device=first.device))

    def lacks(self) -> str:
        """Sub-questions."""
        return lacking(irrelevant=False)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row."""
        first, second = group_rows(forward, (REASONING, SUB_QUESTION))
        with torch.autocast(first.device.type, enabled=False):
            maps = forward.attribution(self.attribution)
            real = forward.real_places(tuple(maps.shape[1:]))
            places = None if real is None else forward.of_rows(real)[first].flatten(1)
            return at_rows(forward, first, self.loss(maps[first].flatten(1), maps[second].flatten(1), places))

    @staticmethod
    def loss(reasoning: Tensor, sub: Tensor, real: Tensor | None = None) -> Tensor:
        """Attention (pairs, boxes) of both questions, and True at boxes that are no padding, to (pairs,) >= 0."""
        squares = (reasoning - sub).square()
        if real is None:
            return squares.mean(1)
        return torch.where(real, squares, 0).sum(1) / real.sum(1).clamp_min(1)
