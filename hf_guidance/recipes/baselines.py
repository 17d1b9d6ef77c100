"""The methods that arXiv 2206.11212 compares VisFIS with, besides HINT and SCR."""

from __future__ import annotations

from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AnswerLoss, InvarianceFI, SaliencyGuided, Sufficiency
from hf_guidance.recipes.settings import BOXES, GT_GRADIENT, VARIANTS, masked_task, threshold_of, unit, weight_of
from hf_guidance.views import Replace, ShuffleImportant, gaussian_noise, shuffle


def simpson2019(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and squared gradients of unimportant boxes (arXiv 1904.08478), as in arXiv 2206.11212, table 2.

    The weight is that of Inv-FI in arXiv 2206.11212 (appendix F): 1 with UpDn, 1e-3 with LXMERT; the gradient has unit
    length there.

    Args:
        model: "updn" or "lxmert"; "pythia" and "san" have UpDn's weights, which are not tuned for them.
        dataset: "clevr_xai", "vqa_hat" or "gqa": decides the threshold.
        variant: "paper" or "official".

    Raises:
        ValueError: Unknown model, data set or variant.
    """
    return Guidance(task=AnswerLoss(), invariance_fi=_squares(model, dataset, variant))


def chang2021(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """``simpson2019`` and Sufficiency, weight 1, with shuffled unimportant boxes (arXiv 2206.11212, table 2).

    With ``variant="official"``, as in the released code, the important boxes are shuffled and the others stay as they are,
    and the task loss of explained rows without an important box is dropped. Arguments and errors are those of
    ``simpson2019``.
    """
    threshold, swapped = threshold_of(dataset), variant == "official"
    fill: Replace = ShuffleImportant(threshold) if swapped else shuffle
    squares = _squares(model, dataset, variant)
    sufficient = Sufficiency(threshold, fill, variant=variant, swapped=swapped)
    return Guidance(task=masked_task(threshold, variant), sufficiency=sufficient, invariance_fi=squares)


def singla2022(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """``simpson2019`` and Sufficiency, weight 1, with noise added to unimportant boxes (arXiv 2206.11212, table 2).

    Arguments and errors are those of ``simpson2019``.
    """
    threshold = threshold_of(dataset)
    squares = _squares(model, dataset, variant)
    sufficient = Sufficiency(threshold, gaussian_noise, variant=variant)
    return Guidance(task=masked_task(threshold, variant), sufficiency=sufficient, invariance_fi=squares)


def saliency_guided(variant: str = "paper") -> Guidance:
    """Task and SaliencyGuided (arXiv 2111.14338), weight 1; it does not run in the released code of arXiv 2206.11212."""
    return Guidance(task=AnswerLoss(), saliency_guided=SaliencyGuided(variant=variant))


def _squares(model: str, dataset: str, variant: str) -> Term:
    check_choice("variant", variant, VARIANTS)
    objective = InvarianceFI(GT_GRADIENT, threshold=threshold_of(dataset), distance="l2", variant=variant)
    return Term(objective, weight_of(model, 1.0, 1e-3) * unit(BOXES, dataset, variant))
