"""ContrastiveSOrT."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.attributions import Attribution, InputXGradient
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IRRELEVANT, REASONING, SUB_QUESTION
from hf_guidance.forward import Forward
from hf_guidance.objectives.objective import Objective
from hf_guidance.objectives.question_groups import at_rows, cosine, group_rows, lacking
from hf_guidance.views import Needs
from hf_guidance.views.layers import FUSION

_HINGES = ("triple", "batch")


@dataclass(frozen=True)
class ContrastiveSOrT(Objective):
    """``L = max(0, cos(G_R, G_I) - cos(G_R, G_S))``: a reasoning question relies on what its sub-question relies on.

    G is the Grad-CAM vector of a question, ``J * d(logit of its answer) / dJ`` with J the features in which image and question
    are joined (arXiv 2010.10038, eq. 1 and 2). R is the reasoning question, S its sub-question and I an irrelevant question
    about the same image. Without irrelevant questions ``L = 1 - cos(G_R, G_S)``, the paper's "only SQ".

    The loss of a group stands at the row of its reasoning question. Groups that lack one of the questions do not count. A
    vector of zeros has the cosine 0 and no gradient; a pair with one has the loss 0 without irrelevant questions.

    Args:
        attribution: The method that makes G. The layer "fusion" is J where the model's family names one; else give the path
            of a module.
        irrelevant: Whether irrelevant questions take part.
        hinge: "triple" is the hinge of the paper, for each triple. "batch" is that of the released code,
            ``max(0, mean(cos(G_R, G_I) - cos(G_R, G_S)))`` over the triples of the batch: triples in order make up for others.
            Rows hold their summands, which may be negative; their mean is the loss, and it depends on how batches are cut.
        times_answers: Whether the loss is multiplied by the number of answers of the model, as in the released code. The
            weight of a recipe belongs to one of the two.

    Raises:
        ValueError: Unknown hinge, or an ``attribution`` that is none.

    Note:
        The released code divides each vector by its maximum first, which turns its sign where the maximum is negative, and
        gives NaN where it is 0. Where it is positive the cosine does not change by it, so it is left out. Its last version
        has only the form without irrelevant questions; the one with them is of its history.

    Columns:
        role: list of one per question, explained or not: 0 reasoning question, 1 sub-question, 2 irrelevant question.
        group: list of one per question: equal numbers >= 0 are one group, -1 stands alone.
        compared_as: optional, list of one per question: the role as which it is compared, as of a control.
        annotated: optional, list of one per explained row: whether it has a score to explain; others are not compared.
        target: (rows,) int64, the explained answer; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Questions that need reasoning come with simple ones that they rest on, and answers to both shall agree. Beside it the
        task is RoleAnswerLoss. AttentionSQuINT aligns where the model looks instead, and needs no second derivatives.

    Reference:
        Dharur, Tendulkar, Batra, Parikh and Selvaraju, "SOrT-ing VQA Models: Contrastive Gradient Learning for Improved
        Consistency", NAACL 2021, arXiv 2010.10038, eq. 2; hinge over batches and factor: its released code.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import ContrastiveSOrT, RoleAnswerLoss
        >>> guidance = Guidance(task=RoleAnswerLoss(), sort=ContrastiveSOrT())
        >>> vectors = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 4.0]])
        >>> ContrastiveSOrT.loss(*vectors)  # of a reasoning, a sub- and an irrelevant question
        tensor([0.6000])
    """

    attribution: Attribution = field(default_factory=lambda: InputXGradient(FUSION))
    irrelevant: bool = True
    hinge: str = "triple"
    times_answers: bool = False

    def __post_init__(self) -> None:
        check_choice("hinge", self.hinge, _HINGES, self)
        if not isinstance(self.attribution, Attribution):
            raise ValueError(
                f"ContrastiveSOrT(attribution={self.attribution!r}) is not an attribution; give for example "
                f"InputXGradient({FUSION!r})."
            )

    def needs(self) -> Needs:
        """What the attribution reads."""
        return self.attribution.needs()

    def rows(self, forward: Forward) -> Tensor:
        """One at the reasoning question of every group that has all questions, else zero."""
        first = self._groups(forward)[0]
        return at_rows(forward, first, torch.ones(len(first), device=first.device))

    def lacks(self) -> str:
        """Sub- or irrelevant questions."""
        return lacking(self.irrelevant)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row."""
        groups = self._groups(forward)
        with torch.autocast(groups[0].device.type, enabled=False):
            vectors = forward.attribution(self.attribution).flatten(1)
            values = self.loss(*(vectors[rows] for rows in groups), hinge=self.hinge)
            if self.times_answers:
                values = values * forward.logits().shape[-1]
            return at_rows(forward, groups[0], values)

    def _groups(self, forward: Forward) -> list[Tensor]:
        return group_rows(forward, (REASONING, SUB_QUESTION, IRRELEVANT)[: 3 if self.irrelevant else 2])

    @staticmethod
    def loss(reasoning: Tensor, sub: Tensor, irrelevant: Tensor | None = None, *, hinge: str = "triple") -> Tensor:
        """Vectors (groups, features) of the questions, to (groups,)."""
        near, defined = cosine(reasoning, sub)
        if irrelevant is None:
            return torch.where(defined, 1 - near, 0)
        excess = cosine(reasoning, irrelevant)[0] - near
        if hinge == "triple":
            return excess.relu()
        return torch.where(excess.detach().sum() > 0, excess, 0)
