"""Guidance by yes/no answers: CRAYON-Attention (arXiv 2410.22312)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hf_guidance.attributions import Attribution, GradCAM, PredictedLogit
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import IrrelevantCRAYON, RelevantCRAYON


@dataclass(frozen=True)
class CrayonSettings:
    """What the paper and its released code chose for a data set.

    Attributes:
        alpha: Weight of the maps answered "yes", before it is divided by their number.
        beta: Weight of the maps answered "no", before it is divided by their number.
        normalize: The form of the losses to which the two belong, as in RelevantCRAYON.
        predicted: Whether the explained score is the highest logit; else that of the label.
        optimizer: Name of the class in torch.optim; its weight decay is added to the gradient, as AdamW's is not.
        arguments: Values of TrainingArguments, for the mean loss of the trainer. The code sums, which is the same for Adam;
            for SGD the learning rate is times, and the weight decay by, the batch size.
    """

    alpha: float
    beta: float
    normalize: str
    predicted: bool
    optimizer: str
    arguments: Mapping[str, Any]


def _arguments(learning_rate: float, weight_decay: float, batch_size: int) -> Mapping[str, Any]:
    return {
        "learning_rate": learning_rate, "weight_decay": weight_decay, "per_device_train_batch_size": batch_size,
        "num_train_epochs": 10, "lr_scheduler_type": "constant", "max_grad_norm": 0.0,
    }  # fmt: skip


CRAYON_SETTINGS: Mapping[str, CrayonSettings] = {
    "waterbirds": CrayonSettings(1e7, 2e5, "mass", False, "Adam", _arguments(5e-5, 1e-4, 128)),
    # The code halves the learning rate after the third epoch.
    "biased_celeba": CrayonSettings(5e7, 1e6, "none", False, "Adam", _arguments(1e-5, 1e-4, 64)),
    # The code's SGD has momentum 0.9.
    "imagenet9": CrayonSettings(5e3, 5e2, "none", True, "SGD", _arguments(5e-6 * 256, 0.1 / 256, 256)),
}
"""Settings by data set: weights and optimisers as in the paper, section IV, forms as in the released code."""


def crayon(
    relevant: int,
    irrelevant: int,
    dataset: str | None = None,
    *,
    alpha: float | None = None,
    beta: float | None = None,
    normalize: str | None = None,
    attribution: Attribution | None = None,
) -> Guidance:
    """``L_task + α/|R| sum_R L_rel + β/|I| sum_I L_irrel`` (arXiv 2410.22312, eq. 4), summed over the answered maps of a batch.

    The task is a mean over the batch, so the terms are, too: all of eq. 4, divided by the batch size. R are the rows whose
    saved map was answered "yes", I those with "no". A term with weight 0 or without an answer is left out.

    Args:
        relevant: |R|, the number of "yes" in the whole training set, as ``hf_guidance.data.answer_counts`` gives it.
        irrelevant: |I|, the number of "no" there.
        dataset: "waterbirds", "biased_celeba" or "imagenet9": takes what is not given from ``CRAYON_SETTINGS``.
        alpha: α >= 0.
        beta: β >= 0.
        normalize: "none" or "mass", the form of the losses; without ``dataset`` "none".
        attribution: The method that made the saved maps; by default GradCAM at the layer "final", of the label, or with
            "imagenet9" of the predicted class.

    Raises:
        ValueError: An unknown name, a count that is no whole number >= 0, no answer at all, or a weight that is missing, not
            finite or negative; or both weights are 0.

    Example:
        >>> guidance = crayon(3414, 152, "waterbirds")
        >>> sorted(guidance)
        ['irrelevant', 'relevant', 'task']
    """
    if dataset is not None:
        check_choice("dataset", dataset, tuple(CRAYON_SETTINGS))
    settings = None if dataset is None else CRAYON_SETTINGS[dataset]
    _check_counts(relevant, irrelevant)
    weights = {
        "alpha": settings.alpha if alpha is None and settings else alpha,
        "beta": settings.beta if beta is None and settings else beta,
    }
    _check_weights(weights)
    form = normalize if normalize is not None else settings.normalize if settings else "none"
    usual = GradCAM(target=PredictedLogit()) if settings and settings.predicted else GradCAM()
    method = usual if attribution is None else attribution
    terms = {}
    for name, objective, weight, count in (
        ("relevant", RelevantCRAYON(method, normalize=form), weights["alpha"], relevant),
        ("irrelevant", IrrelevantCRAYON(method, normalize=form), weights["beta"], irrelevant),
    ):
        if weight and count:
            terms[name] = Term(objective, weight / count, "batch")
    if not terms:
        raise ValueError(
            f"alpha={weights['alpha']}, beta={weights['beta']} with relevant={relevant}, irrelevant={irrelevant} answers leave "
            "no term: give one weight that is not 0 whose answers are there, or train without guidance."
        )
    return Guidance(terms)


def _check_counts(relevant: int, irrelevant: int) -> None:
    for name, count in (("relevant", relevant), ("irrelevant", irrelevant)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(
                f"{name}={count!r} is no number of answers; give a whole number >= 0, as answer_counts does."
            )
    if not relevant and not irrelevant:
        raise ValueError(
            "relevant=0, irrelevant=0: no map was answered with yes or no, so there is nothing to guide by; annotate some."
        )


def _check_weights(weights: Mapping[str, float | None]) -> None:
    for name, weight in weights.items():
        if weight is None:
            raise ValueError(
                f"{name} is missing: give it, or dataset=, one of {list(CRAYON_SETTINGS)}, for the paper's."
            )
        if (
            isinstance(weight, bool)
            or not isinstance(weight, int | float)
            or not (math.isfinite(weight) and weight >= 0)
        ):
            raise ValueError(f"{name}={weight!r}: give a finite number >= 0; 0 leaves the term out.")
