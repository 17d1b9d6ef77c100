"""The papers as values: functions that give a Guidance for visual question answering.

Weights are those of UpDn or LXMERT in arXiv 2206.11212 unless a docstring says otherwise. ``variant="paper"`` takes
formulas and weights from the papers, ``"official"`` those of the released code (zfying/visfis), whose reductions differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hf_guidance.attributions import AttentionWeights, ExpectedGradients, Gradient, KeepOneIn
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import (
    Alignment,
    AnswerLoss,
    ComparisonSCR,
    InfluenceSCR,
    InvarianceDA,
    InvarianceFI,
    RandomSufficiency,
    RankingHINT,
    SaliencyGuided,
    Sufficiency,
    Uncertainty,
)
from hf_guidance.targets import PredictedLogit, SoftLabelLogits
from hf_guidance.views import Replace, ShuffleImportant, gaussian_noise, shuffle

__all__ = [
    "RANDOM_IMPORTANCE",
    "THRESHOLDS",
    "alignment",
    "attention_align",
    "chang2021",
    "hint",
    "invariance_da",
    "invariance_fi",
    "random_sufficiency",
    "random_supervision",
    "saliency_guided",
    "scr",
    "simpson2019",
    "singla2022",
    "sufficiency",
    "task_only",
    "uncertainty",
    "visfis",
]

THRESHOLDS: Mapping[str, float] = {"clevr_xai": 0.85, "vqa_hat": 0.55, "gqa": 0.3}
"""Importance above which a box is important, by data set (arXiv 2206.11212, appendix E)."""
RANDOM_IMPORTANCE = "random_importance"
"""Column with one fixed uniform vector per question, which QuestionCollator makes."""
_VARIANTS, _MODELS = ("paper", "official"), ("updn", "lxmert")
_GT = Gradient(target=SoftLabelLogits())


def task_only(form: str = "softmax") -> Guidance:
    """The answer loss alone: the baseline of every table of arXiv 2206.11212.

    Args:
        form: "softmax" (its code), or "sigmoid": binary cross-entropy with soft scores, summed over answers.
    """
    return Guidance(task=AnswerLoss(form))


def visfis(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """``λ1 Task + λ2 Suff + λ3 Unc + λ4 Align + λ5 Inv-FI`` on plain gradients (arXiv 2206.11212, eq. 7).

    Weights of appendix F: 1 for all with UpDn; with LXMERT 1e-3 for Inv-FI and 1e-6 for Align. The released scripts have
    0.1 for Inv-FI and Align with UpDn on VQA-HAT, and 1e-5 for Align with LXMERT.

    Args:
        model: "updn" or "lxmert".
        dataset: "clevr_xai", "vqa_hat" or "gqa": decides the threshold.
        variant: "paper" or "official".

    Raises:
        ValueError: Unknown model, data set or variant.
    """
    threshold = _threshold(dataset)
    _check(model=(model, _MODELS), variant=(variant, _VARIANTS))
    official = variant == "official"
    invariance, align = (1e-3, 1e-5 if official else 1e-6) if model == "lxmert" else (1.0, 1.0)
    if official and model == "updn" and dataset == "vqa_hat":
        invariance, align = 0.1, 0.1
    return Guidance(
        task=AnswerLoss(),
        sufficiency=Sufficiency(threshold, variant=variant),
        uncertainty=Uncertainty(threshold, variant=variant),
        invariance_fi=Term(InvarianceFI(_GT, threshold=threshold, variant=variant), invariance),
        alignment=Term(Alignment(_GT, threshold=None if official else threshold), align),
    )


def hint(model: str = "updn", variant: str = "paper") -> Guidance:
    """Task and ranking loss on plain gradients: HINT (arXiv 1902.03751, eq. 4).

    "original" is HINT's own: ranking 1, task λ = 10 (section 5), to fine-tune a trained UpDn. The others train from the
    start, as arXiv 2206.11212 compares it: 1e-3 with UpDn and 1e-6 with LXMERT (appendix F); its scripts have 1e-2 and 1e-6.

    Args:
        model: "updn" or "lxmert"; HINT's paper has UpDn only.
        variant: "paper", "official" or "original".

    Raises:
        ValueError: Unknown model or variant, or "original" with LXMERT.
    """
    _check(model=(model, _MODELS), variant=(variant, (*_VARIANTS, "original")))
    if variant == "original":
        _check(model=(model, ("updn",)))
        return Guidance(task=Term(AnswerLoss(), 10.0), hint=RankingHINT(Gradient()))
    if variant == "official":
        weight = 1e-2 if model == "updn" else 1e-6
        return Guidance(task=AnswerLoss(), hint=Term(RankingHINT(_GT, variant=variant), weight))
    return Guidance(task=AnswerLoss(), hint=Term(RankingHINT(_GT), 1e-3 if model == "updn" else 1e-6))


def attention_align() -> Guidance:
    """HINT's baseline Attn. Align.: its ranking loss on the attention of UpDn, else unchanged (arXiv 1902.03751, sec. 5)."""
    return Guidance(task=Term(AnswerLoss(), 10.0), hint=RankingHINT(AttentionWeights()))


def scr(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task, influence strengthening and the self-critical loss (arXiv 1905.09998).

    Weights of arXiv 2206.11212, appendix F: 1e-3 with UpDn, 1e-6 with LXMERT, one number for both losses. The released
    scripts have 1e-2 and 1e-6 for the first. There the second is zero in every run, whatever its weight, and is left out.

    Args:
        model: "updn" or "lxmert".
        dataset: "clevr_xai", "vqa_hat" or "gqa": decides the threshold; the official variant has none.
        variant: "paper" or "official".

    Raises:
        ValueError: Unknown model, data set or variant.
    """
    threshold = _threshold(dataset)
    _check(model=(model, _MODELS), variant=(variant, _VARIANTS))
    if variant == "official":
        weight = 1e-2 if model == "updn" else 1e-6
        influence = InfluenceSCR(_GT, variant=variant, slack=1e-7 / weight)
        return Guidance(task=AnswerLoss(), influence=Term(influence, weight, "sum"))
    weight = 1e-3 if model == "updn" else 1e-6
    return Guidance(
        task=AnswerLoss(),
        influence=Term(InfluenceSCR(_GT, threshold=threshold), weight),
        comparison=Term(ComparisonSCR(_GT, threshold=threshold), weight),
    )


def simpson2019(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and squared unimportant gradients (arXiv 1904.08478), as arXiv 2206.11212, table 2, runs it.

    The weight is that of its Inv-FI (appendix F): 1 with UpDn, 1e-3 with LXMERT; the gradient has unit length there.

    Args:
        model: "updn" or "lxmert".
        dataset: "clevr_xai", "vqa_hat" or "gqa": decides the threshold.
        variant: "paper" or "official".

    Raises:
        ValueError: Unknown model, data set or variant.
    """
    return Guidance(task=AnswerLoss(), invariance_fi=_squares(model, dataset, variant))


def chang2021(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """``simpson2019`` and Sufficiency, weight 1, with shuffled unimportant boxes (arXiv 2206.11212, table 2).

    The released code shuffles the important boxes and leaves the others as they are: ``variant="official"``, which also
    drops the task loss of rows without important box. Arguments and errors are those of ``simpson2019``.
    """
    threshold, swapped = _threshold(dataset), variant == "official"
    fill: Replace = ShuffleImportant(threshold) if swapped else shuffle
    squares = _squares(model, dataset, variant)
    sufficient = Sufficiency(threshold, fill, variant=variant, swapped=swapped)
    return Guidance(task=_masked(threshold, variant), sufficiency=sufficient, invariance_fi=squares)


def singla2022(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """``simpson2019`` and Sufficiency, weight 1, with noise added to unimportant boxes (arXiv 2206.11212, table 2).

    Arguments and errors are those of ``simpson2019``.
    """
    threshold = _threshold(dataset)
    squares = _squares(model, dataset, variant)
    sufficient = Sufficiency(threshold, gaussian_noise, variant=variant)
    return Guidance(task=_masked(threshold, variant), sufficiency=sufficient, invariance_fi=squares)


def saliency_guided(variant: str = "paper") -> Guidance:
    """Task and SaliencyGuided (arXiv 2111.14338), weight 1; in the released code of arXiv 2206.11212 it does not run."""
    return Guidance(task=AnswerLoss(), saliency_guided=SaliencyGuided(variant=variant))


def sufficiency(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Suff-Human, weight 1 (arXiv 2206.11212, table 4)."""
    threshold = _threshold(dataset)
    return Guidance(task=_masked(threshold, variant), sufficiency=Sufficiency(threshold, variant=variant))


def random_sufficiency() -> Guidance:
    """Task and Suff-Random, weight 1: the unsupervised baseline (arXiv 2206.11212, tables 2 and 3)."""
    return Guidance(task=AnswerLoss(), sufficiency=RandomSufficiency())


def uncertainty(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Unc, weight 1 (arXiv 2206.11212, table 4)."""
    return Guidance(task=AnswerLoss(), uncertainty=Uncertainty(_threshold(dataset), variant=variant))


def invariance_da(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Inv-DA, weight 1 (arXiv 2206.11212, table 11)."""
    threshold = _threshold(dataset)
    return Guidance(task=_masked(threshold, variant), invariance_da=InvarianceDA(threshold, variant=variant))


def invariance_fi(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Inv-FI, weight 1, on KeepOneIn of the answer with one random box (arXiv 2206.11212, appendix F)."""
    one = KeepOneIn(target=SoftLabelLogits(), budget=1)
    return Guidance(task=AnswerLoss(), invariance_fi=InvarianceFI(one, threshold=_threshold(dataset), variant=variant))


def alignment(dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task and Align, weight 1, on ExpectedGradients of the prediction, one sample (arXiv 2206.11212, appendix F)."""
    _check(variant=(variant, _VARIANTS))
    threshold = _threshold(dataset)
    expected = ExpectedGradients(target=PredictedLogit(), variant=variant)
    return Guidance(
        task=AnswerLoss(), alignment=Alignment(expected, threshold=None if variant == "official" else threshold)
    )


def random_supervision(guidance: Guidance, column: str = RANDOM_IMPORTANCE) -> Guidance:
    """The control of a guidance: the same terms, told a fixed random importance (arXiv 2206.11212, section 7.2).

    Objectives and views read ``column`` wherever they read ``importance``. Rows count as before where the column
    ``annotated`` decides; which rows have an important box is up to the random vector.

    Args:
        guidance: What is to be controlled for.
        column: The random column.

    Raises:
        ValueError: The guidance reads no importance, or a Replace function of it does so by itself.

    Example:
        >>> control = random_supervision(visfis("updn", "gqa"))
    """
    moved = {name: _with_column(term, column) for name, term in guidance.items()}
    if all(moved[name] == term for name, term in guidance.items()):
        raise ValueError(
            "random_supervision(guidance): no term reads the column 'importance'; there is nothing to control."
        )
    return Guidance(moved)


def _with_column(value: Any, column: str) -> Any:
    if isinstance(value, ShuffleImportant):
        raise ValueError(
            "random_supervision(guidance): ShuffleImportant always reads the column 'importance'; use shuffle."
        )
    if isinstance(value, tuple):
        return tuple(_with_column(item, column) for item in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for entry in fields(value):
        old = getattr(value, entry.name)
        reads = entry.name in ("importance", "column") and old == "importance"
        changed[entry.name] = column if reads else _with_column(old, column)
    return replace(value, **changed)


def _squares(model: str, dataset: str, variant: str) -> Term:
    _check(model=(model, _MODELS), variant=(variant, _VARIANTS))
    objective = InvarianceFI(_GT, threshold=_threshold(dataset), distance="l2", variant=variant)
    return Term(objective, 1.0 if model == "updn" else 1e-3)


def _masked(threshold: float, variant: str) -> AnswerLoss:
    # The released code drops the task loss of rows that an augmented view drops.
    return AnswerLoss(threshold=threshold if variant == "official" else None)


def _threshold(dataset: str) -> float:
    _check(dataset=(dataset, tuple(THRESHOLDS)))
    return THRESHOLDS[dataset]


def _check(**choices: tuple[str, tuple[str, ...]]) -> None:
    for name, (given, allowed) in choices.items():
        if given not in allowed:
            raise ValueError(f"{name}={given!r} is unknown; choose one of {list(allowed)}.")
