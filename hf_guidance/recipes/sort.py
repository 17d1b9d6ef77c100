"""Consistent answers of reasoning questions and their sub-questions: SOrT (arXiv 2010.10038) and SQuINT (arXiv 2001.06927).

Rows are those of ``QuestionTripleCollator``. Both papers average over triples; a batch of n triples has 3 n questions, and the
terms of a Guidance are divided by these. So every term has the factor 3, 2 where a group is a pair, and the loss of a batch of
whole groups is the papers'. Questions without partner add to the questions, which lowers all terms alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hf_guidance.attributions import InputXGradient
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AttentionSQuINT, ContrastiveSOrT, RoleAnswerLoss
from hf_guidance.objectives.checks import is_weight

_TRIPLE, _PAIR = 3, 2


@dataclass(frozen=True)
class SortWeights:
    """One published weighting of SOrT, and the unit of the loss to which it belongs.

    Attributes:
        contrastive: Weight of the loss on Grad-CAM vectors.
        answers: λ1, λ2, λ3, the weights of the answers to reasoning, sub- and irrelevant questions. BCE is summed over the
            answers in both weightings.
        hinge: As in ContrastiveSOrT.
        times_answers: Whether the loss on vectors is times the number of answers, about 3,129 there.
    """

    contrastive: float
    answers: tuple[float, float, float]
    hinge: str
    times_answers: bool


SORT_WEIGHTS: Mapping[str, SortWeights] = {
    "paper": SortWeights(1.0, (2.27, 2.27, 0.0003), "triple", False),
    "official": SortWeights(0.001, (0.33, 0.33, 0.33), "batch", True),
}
"""Weightings of SOrT: eq. 3 with appendix A.1.7 of the paper, and the configuration of the released code."""


def sort(weighting: str = "paper", layer: str = "fusion", *, times_answers: bool | None = None) -> Guidance:
    """``L = L_CG + λ1 BCE(R) + λ2 BCE(S) + λ3 BCE(I)``: SOrT (arXiv 2010.10038, eq. 3).

    R, S and I are reasoning, sub- and irrelevant questions; BCE is summed over answers.

    Args:
        weighting: "paper" is λ = (2.27, 2.27, 0.0003) with the hinge of each triple. "official" is 0.33 for every BCE and
            0.001 for the loss on vectors, which has its hinge over the batch and is times the number of answers. That form is
            of the code's history; its last version is `sort_only_sub_questions`.
        layer: Where image and question are joined: "fusion", or the path of a module.
        times_answers: The unit of the loss on vectors; None for that of the weighting. The paper does not say whether its λ
            were found with the factor that its code has: True takes them so.

    Raises:
        ValueError: Unknown weighting, or no layer.

    Example:
        >>> sort()["task"].objective.role_weights
        (2.27, 2.27, 0.0003)
    """
    return _guidance(weighting, layer, times_answers, irrelevant=True, questions=_TRIPLE)


def sort_only_sub_questions(
    weighting: str = "paper",
    layer: str = "fusion",
    *,
    times_answers: bool | None = None,
    questions: int = _PAIR,
) -> Guidance:
    """``L = 1 - cos(G_R, G_S) + λ1 BCE(R) + λ2 BCE(S) (+ λ3 BCE(I))``: SOrT with only sub-questions (arXiv 2010.10038).

    The ablation of the paper, which gives no λ of its own; with ``"official"`` and ``questions=3`` the loss of the released
    code.

    Args:
        weighting: As for `sort`.
        layer: As for `sort`.
        times_answers: As for `sort`.
        questions: Questions of a group: 2 where rows bring no irrelevant question; 3 where they do, which then counts in the
            task only, as in the released code.

    Raises:
        ValueError: Unknown weighting, no layer, or another number of questions.

    Example:
        >>> sort_only_sub_questions()["sort"].objective.irrelevant
        False
    """
    check_choice("questions", questions, (_PAIR, _TRIPLE))
    return _guidance(weighting, layer, times_answers, irrelevant=False, questions=questions)


def squint(attention: float, sub: float = 1.0, irrelevant: float = 0.0, *, questions: int = _PAIR) -> Guidance:
    """``L = BCE(R) + λ_a mean_k (A_R,k - A_S,k)² + λ_s BCE(S)``: SQuINT (arXiv 2001.06927).

    Args:
        attention: λ_a, the weight of the distance of attentions. The paper's is not known here, so it must be given.
        sub: λ_s.
        irrelevant: The weight of irrelevant questions, where rows bring any; SQuINT has none.
        questions: As for `sort_only_sub_questions`.

    Raises:
        ValueError: A weight that is not a finite number >= 0, or another number of questions.

    Example:
        >>> squint(attention=10.0)["squint"].weight
        20.0
    """
    check_choice("questions", questions, (_PAIR, _TRIPLE))
    for name, weight in (("attention", attention), ("sub", sub), ("irrelevant", irrelevant)):
        if not is_weight(weight):
            raise ValueError(f"squint({name}={weight!r}): give a finite number >= 0.")
    task = RoleAnswerLoss(role_weights=(1.0, sub, irrelevant), alone=1.0)
    return Guidance(task=Term(task, float(questions)), squint=Term(AttentionSQuINT(), questions * attention))


def _guidance(weighting: str, layer: str, times_answers: bool | None, *, irrelevant: bool, questions: int) -> Guidance:
    check_choice("weighting", weighting, tuple(SORT_WEIGHTS))
    weights = SORT_WEIGHTS[weighting]
    objective = ContrastiveSOrT(
        InputXGradient(layer),
        irrelevant=irrelevant,
        hinge=weights.hinge if irrelevant else "triple",
        times_answers=weights.times_answers if times_answers is None else times_answers,
    )
    task = RoleAnswerLoss(role_weights=weights.answers)
    return Guidance(task=Term(task, float(questions)), sort=Term(objective, questions * weights.contrastive))
