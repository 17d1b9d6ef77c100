"""VisFIS and its single objectives (arXiv 2206.11212)."""

from __future__ import annotations

from hf_guidance.attributions import ExpectedGradients, KeepOneIn, PredictedLogit, SoftLabelLogits
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import (
    Alignment,
    AnswerLoss,
    InvarianceDA,
    InvarianceFI,
    RandomSufficiency,
    Sufficiency,
    Uncertainty,
)
from hf_guidance.recipes.settings import (
    ANSWERS,
    BOXES,
    GT_GRADIENT,
    VARIANTS,
    masked_task,
    threshold_of,
    unit,
    weight_of,
)


def task_only(form: str = "softmax") -> Guidance:
    """The answer loss alone: the baseline of every table of arXiv 2206.11212.

    Args:
        form: "softmax" (its released code), or "sigmoid": binary cross-entropy with soft scores, summed over answers.
    """
    return Guidance(task=AnswerLoss(form))


def visfis(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """``λ1 Task + λ2 Suff + λ3 Unc + λ4 Align + λ5 Inv-FI`` on plain gradients (arXiv 2206.11212, eq. 7).

    Weights of appendix F: 1 for all with UpDn; with LXMERT 1e-3 for Inv-FI and 1e-6 for Align. The released scripts have
    0.1 for Inv-FI and Align with UpDn on VQA-HAT, and 1e-5 for Align with LXMERT.

    Note:
        The experiments averaged Unc over answers and Inv-FI over boxes, where eq. 3 and 5 sum. With ``variant="paper"`` the
        weights of these two are therefore divided by the number of answers and of boxes in the data set. With weight 1,
        as printed, these two terms drown the task.

    Args:
        model: "updn" or "lxmert"; "pythia" and "san" have UpDn's weights, which are not tuned for them.
        dataset: "clevr_xai", "vqa_hat", "gqa" or "shapes_vqa": decides the threshold, and the units of the weights.
        variant: "paper" or "official".

    Raises:
        ValueError: Unknown model, data set or variant.
    """
    threshold = threshold_of(dataset)
    check_choice("variant", variant, VARIANTS)
    official = variant == "official"
    own = 0.1 if official and dataset == "vqa_hat" else 1.0
    invariance, align = weight_of(model, own, 1e-3), weight_of(model, own, 1e-5 if official else 1e-6)
    unimportant = InvarianceFI(GT_GRADIENT, threshold=threshold, variant=variant)
    return Guidance(
        task=AnswerLoss(),
        sufficiency=Sufficiency(threshold, variant=variant),
        uncertainty=Term(Uncertainty(threshold, variant=variant), unit(ANSWERS, dataset, variant)),
        invariance_fi=Term(unimportant, invariance * unit(BOXES, dataset, variant)),
        alignment=Term(Alignment(GT_GRADIENT, threshold=None if official else threshold), align),
    )


def sufficiency(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Suff-Human, weight 1 (arXiv 2206.11212, table 4)."""
    threshold = threshold_of(dataset)
    return Guidance(task=masked_task(threshold, variant), sufficiency=Sufficiency(threshold, variant=variant))


def random_sufficiency() -> Guidance:
    """Task and Suff-Random, weight 1: the unsupervised baseline (arXiv 2206.11212, tables 2 and 3)."""
    return Guidance(task=AnswerLoss(), sufficiency=RandomSufficiency())


def uncertainty(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Unc, weight 1 (arXiv 2206.11212, table 4)."""
    objective = Uncertainty(threshold_of(dataset), variant=variant)
    return Guidance(task=AnswerLoss(), uncertainty=Term(objective, unit(ANSWERS, dataset, variant)))


def invariance_da(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Inv-DA, weight 1 (arXiv 2206.11212, table 11)."""
    threshold = threshold_of(dataset)
    term = Term(InvarianceDA(threshold, variant=variant), unit(ANSWERS, dataset, variant))
    return Guidance(task=masked_task(threshold, variant), invariance_da=term)


def invariance_fi(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Inv-FI, weight 1, on KeepOneIn of the answer (arXiv 2206.11212, appendix F).

    Note:
        The paper's scripts sample one random box. The importance of one box, scaled to unit length, is always 1 or -1:
        the term is then a constant and trains nothing. ``variant="official"`` does this; "paper" keeps each box in turn.
    """
    boxes = KeepOneIn(target=SoftLabelLogits(), budget=1 if variant == "official" else None)
    objective = InvarianceFI(boxes, threshold=threshold_of(dataset), variant=variant)
    return Guidance(task=AnswerLoss(), invariance_fi=Term(objective, unit(BOXES, dataset, variant)))


def alignment(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Align, weight 1, on ExpectedGradients of the prediction, one sample (arXiv 2206.11212, appendix F)."""
    check_choice("variant", variant, VARIANTS)
    threshold = threshold_of(dataset)
    expected = ExpectedGradients(target=PredictedLogit(), variant="official" if variant == "official" else "path")
    return Guidance(
        task=AnswerLoss(), alignment=Alignment(expected, threshold=None if variant == "official" else threshold)
    )
