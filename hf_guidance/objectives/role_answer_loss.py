"""RoleAnswerLoss: the task beside SOrT and SQuINT."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.data.columns import ANSWERED, NO_GROUP
from hf_guidance.forward import Forward
from hf_guidance.objectives.answer_loss import AnswerLoss
from hf_guidance.objectives.checks import is_weight
from hf_guidance.objectives.question_groups import of_questions, roles_and_groups


@dataclass(frozen=True)
class RoleAnswerLoss(AnswerLoss):
    """``L = w_role * AnswerLoss``: answers of reasoning, sub- and irrelevant questions with a weight each.

    The second to fourth term of ``L_CG + λ1 BCE(R) + λ2 BCE(S) + λ3 BCE(I)`` (arXiv 2010.10038, eq. 3), for every question.
    As the term "task" it is summed over the questions of a batch and divided by their number. The weight is that of the role,
    whether the question is explained or not: with "sigmoid" a question whose answers are all outside the vocabulary has the
    loss of an answer of zeros, as in AnswerLoss. A question without any answers has no truth, and does not count.

    Args:
        form: As in AnswerLoss; "sigmoid" in the paper, whose BCE is the sum over answers, mean over questions.
        threshold: As in AnswerLoss; None, for triples bring no importance.
        importance: As in AnswerLoss.
        role_weights: λ1, λ2, λ3: of reasoning, sub- and irrelevant questions that are in a group.
        alone: The weight of questions in no group, whose row has no sub-question. None for the sum of the three: in the
            released code such a question stands in for all three.

    Raises:
        ValueError: As in AnswerLoss; or weights that are not three finite numbers >= 0, or all 0.

    Columns:
        labels: (questions, classes) scores in [0, 1], or (questions,) integers in [0, classes); the answers.
        role: list of one per question, explained or not: 0 reasoning question, 1 sub-question, 2 irrelevant question.
        group: list of one per question: equal numbers >= 0 are one group, -1 stands alone.
        answered: optional, list of one per question: whether it has answers; all True without the column.
        importance: optional, (rows, height, width) or (rows, objects) in [0, 1], any real dtype; read only where a threshold
            is given.

    When to use:
        The term "task" beside ContrastiveSOrT and AttentionSQuINT. Prefer AnswerLoss where all questions count alike.

    Reference:
        Dharur, Tendulkar, Batra, Parikh and Selvaraju, "SOrT-ing VQA Models: Contrastive Gradient Learning for Improved
        Consistency", NAACL 2021, arXiv 2010.10038, eq. 3.

    Example:
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import ContrastiveSOrT, RoleAnswerLoss
        >>> guidance = Guidance(task=RoleAnswerLoss(role_weights=(2.27, 2.27, 0.0003)), sort=ContrastiveSOrT())
    """

    form: str = "sigmoid"
    role_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    alone: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = tuple(self.role_weights) if isinstance(self.role_weights, tuple | list) else ()
        if len(given) != 3 or not all(map(is_weight, given)) or not any(given):
            raise ValueError(
                f"RoleAnswerLoss(role_weights={self.role_weights!r}): give three finite numbers >= 0, not all 0, of reasoning, "
                "sub- and irrelevant questions, as (2.27, 2.27, 0.0003)."
            )
        if self.alone is not None and not is_weight(self.alone):
            raise ValueError(
                f"RoleAnswerLoss(alone={self.alone!r}): give a finite number >= 0, or None for the sum of role_weights."
            )
        object.__setattr__(self, "role_weights", given)

    def rows(self, forward: Forward) -> Tensor:
        """One for every question with answers, else zero."""
        return torch.tensor(_answered(forward), dtype=torch.float32, device=forward.logits().device)

    def __call__(self, forward: Forward) -> Tensor:
        """The weighted loss of every question, 0 where it has no answers."""
        alone = sum(self.role_weights) if self.alone is None else self.alone
        weights = [
            (alone if group == NO_GROUP else self.role_weights[role]) if answered else 0.0
            for (role, group), answered in zip(roles_and_groups(forward), _answered(forward), strict=True)
        ]
        values = super().__call__(forward)
        return values * torch.tensor(weights, dtype=values.dtype, device=values.device)


def _answered(forward: Forward) -> list[bool]:
    return of_questions(forward, ANSWERED) if ANSWERED in forward.batch else [True] * forward.images
