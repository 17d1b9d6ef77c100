"""The methods with maps that CRAYON is compared with (table I of its paper), as they were set there.

Weights, rates, batch sizes and epochs are those of the file misc/training_config.md of CRAYON's repository. The code of these
baselines is not released: which layers, masks and reductions they used is not known, so each takes the form of its own
released code. What is not known at all must be given, and is named below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_guidance.attributions import GradCAM, Gradient, LogProbabilities
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import GRADIA, ActDiff, Energy, GradMask, Identity, QuadrantTaskLoss, RightReasons
from hf_guidance.views.layers import FINAL, MIDDLE

DATASETS = ("waterbirds", "biased_celeba", "imagenet9")
_BATCH_SIZES = dict(zip(DATASETS, (128, 64, 256), strict=True))
_RRR = dict(zip(DATASETS, (200.0, 25_000.0, 0.1), strict=True))
_ACT_DIFF = dict(zip(DATASETS, (0.1, 1e-5, 1e-2), strict=True))
_ARGUMENTS: Mapping[str, tuple[tuple[float, int], ...]] = {
    "rrr": ((5e-5, 10), (5e-6, 5), (1e-5, 10)),
    "gradmask": ((5e-5, 10), (5e-6, 10), (1e-5, 10)),
    "actdiff": ((5e-5, 10), (5e-5, 10), (1e-5, 10)),
    "gradia": ((5e-5, 10), (1e-3, 10), (1e-6, 5)),
    "bounding_box": ((5e-5, 10), (5e-6, 10), (1e-5, 10)),
}
"""Learning rate and epochs by data set, in the order of DATASETS."""
METHODS = tuple(_ARGUMENTS)


def rrr(dataset: str = "waterbirds", weight: float | None = None) -> Guidance:
    """Task and squared input gradients of ``sum_k log p_k`` outside the mask, RRR (arXiv 1703.03717, eq. 1).

    CRAYON's weights are 200, 25,000 and 0.1. Whether it took gradients at the input, and with which of the two released
    factors, is not known; this takes the input, the mean over the batch of both terms, and the factor 1.

    Args:
        dataset: "waterbirds", "biased_celeba" or "imagenet9": decides the weight.
        weight: Another weight.

    Raises:
        ValueError: Unknown data set, or a weight that is not a finite number >= 0.

    Example:
        >>> guidance = rrr("waterbirds")
    """
    objective = RightReasons(Gradient(target=LogProbabilities(), channels="keep"), Identity(), variant="official")
    return Guidance(rrr=Term(objective, _weight("rrr", dataset, weight, _RRR)))


def gradmask(dataset: str = "waterbirds", weight: float | None = None, variant: str = "official") -> Guidance:
    """Task and gradients of the contrast outside the mask, GradMask (arXiv 1904.07478).

    CRAYON's weight is not known, nor what it took for nine classes; here the strongest other class stands for the second.

    Args:
        dataset: As for ``rrr``; the weight of none is published.
        weight: The weight; it must be given.
        variant: "official" or "paper", as in GradMask: magnitudes or squares.

    Raises:
        ValueError: No weight; unknown data set or variant.

    Example:
        >>> guidance = gradmask("waterbirds", weight=1.0)
    """
    return Guidance(gradmask=Term(GradMask(variant=variant), _weight("gradmask", dataset, weight, {})))


def actdiff(
    dataset: str = "waterbirds",
    weight: float | None = None,
    layers: tuple[str, ...] = (*MIDDLE, FINAL),
    variant: str = "official",
) -> Guidance:
    """Task and distance of activations to those of the image with its background permuted, ActDiff (arXiv 1910.00199).

    CRAYON's weights are 0.1, 1e-5 and 1e-2; its layers are not known. They belong to the official mean over lines.

    Args:
        dataset: As for ``rrr``.
        weight: Another weight.
        layers: The layers compared.
        variant: "official" or "paper", as in ActDiff.

    Raises:
        ValueError: Unknown data set or variant, layers that ActDiff refuses, or a weight that is not a finite number >= 0.

    Example:
        >>> guidance = actdiff("imagenet9", layers=("final",))
    """
    objective = ActDiff(layers=layers, variant=variant)
    return Guidance(actdiff=Term(objective, _weight("actdiff", dataset, weight, _ACT_DIFF)))


def gradia(dataset: str = "waterbirds", weight: float = 1.0, fixed_weights: bool = True) -> Guidance:
    """Task and attention, both weighted by the quadrants of the images, GRADIA (arXiv 2202.02838).

    Data need the column ``quadrant``; see ``hf_guidance.data.with_quadrants``.

    Args:
        dataset: As for ``rrr``; the terms do not depend on it.
        weight: Weight of the attention term; 1 in GRADIA's code, and not given for CRAYON.
        fixed_weights: Whether the weights of channels count as constants, as in GRADIA's code.

    Raises:
        ValueError: Unknown data set, or a weight that is not a finite number >= 0.

    Example:
        >>> guidance = gradia("waterbirds")
    """
    check_choice("dataset", dataset, DATASETS)
    objective = GRADIA(GradCAM(relu=False, fixed_weights=fixed_weights))
    return Guidance(task=QuadrantTaskLoss(), gradia=Term(objective, weight, "rows"))


def bounding_box(dataset: str = "waterbirds", weight: float | None = None) -> Guidance:
    """Task and Energy of Grad-CAM at "final", summed over the annotated images of a batch (arXiv 2303.11932, eq. 6).

    CRAYON's weight, method and layer are not known; `model_guidance` has the settings of the method's own paper.

    Args:
        dataset: As for ``rrr``; the weight of none is published.
        weight: The factor of the sum over a batch; it must be given.

    Raises:
        ValueError: No weight; unknown data set.

    Example:
        >>> guidance = bounding_box("waterbirds", weight=1e-3)
    """
    return Guidance(energy=Term(Energy(GradCAM()), _weight("bounding_box", dataset, weight, {}), "sum"))


def crayon_baseline_arguments(method: str, dataset: str) -> dict[str, Any]:
    """Values of TrainingArguments for a method, as CRAYON set them; all start from its *Original* model.

    The optimizer is torch's Adam, whose weight decay is part of the gradient; transformers has no name for it, so it is
    passed as ``GuidedTrainer(..., optimizer_cls_and_kwargs=(torch.optim.Adam, {"lr": ..., "weight_decay": ...}))`` with the
    values given here. CRAYON's own code has a constant rate (halved after epoch 3 on CelebA), and no clipping; whether the
    baselines did so is not known.

    Args:
        method: "rrr", "gradmask", "actdiff", "gradia" or "bounding_box".
        dataset: "waterbirds", "biased_celeba" or "imagenet9".

    Returns:
        ``learning_rate``, ``weight_decay``, ``num_train_epochs``, ``per_device_train_batch_size`` (for one device),
        ``lr_scheduler_type`` and ``max_grad_norm`` (0 for no clipping).

    Raises:
        ValueError: Unknown method or data set.

    Example:
        >>> crayon_baseline_arguments("rrr", "biased_celeba")["learning_rate"]
        5e-06
    """
    check_choice("method", method, METHODS)
    check_choice("dataset", dataset, DATASETS)
    rate, epochs = _ARGUMENTS[method][DATASETS.index(dataset)]
    return {
        "learning_rate": rate,
        "weight_decay": 1e-4,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": _BATCH_SIZES[dataset],
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
    }


def _weight(method: str, dataset: str, given: float | None, published: Mapping[str, float]) -> float:
    check_choice("dataset", dataset, DATASETS)
    if given is not None:
        return given
    if dataset not in published:
        raise ValueError(
            f"{method}({dataset!r}) needs a weight, as weight=1.0: the one of the comparison is not published."
        )
    return published[dataset]
