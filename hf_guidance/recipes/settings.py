"""Thresholds and sizes by data set, shared by the recipes of visual question answering."""

from __future__ import annotations

from collections.abc import Mapping

from hf_guidance.attributions import Gradient, SoftLabelLogits
from hf_guidance.common.checks import check_choice
from hf_guidance.objectives import AnswerLoss

THRESHOLDS: Mapping[str, float] = {"clevr_xai": 0.85, "vqa_hat": 0.55, "gqa": 0.3, "shapes_vqa": 0.85}
"""Importance above which a box is important, by data set (arXiv 2206.11212, appendix E; shapes_vqa as CLEVR-XAI)."""
ANSWERS: Mapping[str, int] = {"clevr_xai": 28, "vqa_hat": 3100, "gqa": 1842, "shapes_vqa": 27}
BOXES: Mapping[str, int] = {"clevr_xai": 15, "vqa_hat": 36, "gqa": 36, "shapes_vqa": 12}
"""Numbers of answers and of boxes in the experiments of arXiv 2206.11212, and in shapes_vqa by default."""
VARIANTS, MODELS = ("paper", "official"), ("updn", "pythia", "san", "lxmert")
GT_GRADIENT = Gradient(target=SoftLabelLogits())


def threshold_of(dataset: str) -> float:
    """The threshold of a data set.

    Raises:
        ValueError: Unknown data set.
    """
    check_choice("dataset", dataset, tuple(THRESHOLDS))
    return THRESHOLDS[dataset]


def unit(sizes: Mapping[str, int], dataset: str, variant: str) -> float:
    """The factor that converts a weight of the experiments to the formula in use.

    Where the papers' formulas sum over answers or boxes, the code of the experiments averages. For the papers' formulas a
    weight is therefore divided by the number of answers or boxes.
    """
    return 1.0 if variant == "official" else 1.0 / sizes[dataset]


def weight_of(model: str, updn: float, lxmert: float) -> float:
    """The weight of a term by the model; that of Pythia and SAN, which the papers lack, is UpDn's, and not tuned for them.

    Like UpDn they are trained from the start; the small weights of LXMERT are made for fine-tuning a pretrained one.

    Raises:
        ValueError: Unknown model.
    """
    check_choice("model", model, MODELS)
    return lxmert if model == "lxmert" else updn


def masked_task(threshold: float, variant: str) -> AnswerLoss:
    """The task beside a term on views; the released code drops the task loss of explained rows without important box."""
    return AnswerLoss(threshold=threshold if variant == "official" else None)
