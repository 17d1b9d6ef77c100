"""Model guidance by boxes (arXiv 2303.11932)."""

from __future__ import annotations

from collections.abc import Mapping

from hf_guidance.attributions import Attribution, BcosContribution, GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import L1, PPCE, AttributionObjective, Energy, RightReasons

WEIGHTS: Mapping[str, tuple[float, float, float]] = {
    "energy": (5e-4, 1e-3, 5e-3),
    "l1": (1e-3, 5e-3, 1e-2),
    "ppce": (1e-4, 5e-4, 1e-3),
    "rrr": (5e-6, 1e-5, 5e-5),
}
"""Weights λ of a sweep by loss, as factors of a sum over batches of 64. They are recalled from the paper's table D1, which
was not available to confirm them; 1e-3 for Energy is in the released code."""
BATCH_SIZE = 64
"""Batch size for which the weights hold."""
_LOSSES: Mapping[str, type[AttributionObjective]] = {"energy": Energy, "l1": L1, "ppce": PPCE, "rrr": RightReasons}
_ATTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "vanilla": ("ixg", "gradcam"),
    "xdnn": ("intgrad", "ixg", "gradcam"),
    "bcos": ("bcos", "ixg", "gradcam"),
}
_SMALLEST_FRACTION = 0.01
_REDUCTIONS = ("sum", "batch", "rows")


def model_guidance(
    loss: str = "energy",
    model: str = "vanilla",
    attribution: str | None = None,
    layer: str = "input",
    weight: float | None = None,
    fraction: float = 1.0,
    reduction: str = "sum",
) -> Guidance:
    """``L_task + λ L_loc``, with one loss on the attributions of one class per image (arXiv 2303.11932, eq. 1).

    ``L_loc`` is the sum over the annotated images of a batch, as in the released code, so λ belongs to a batch size: 64.
    With ``reduction="batch"`` the weight is 64 λ: the same loss in batches of 64, and the same share of the loss in batches
    of another size. With "rows", a mean over annotated images, the weight is λ times the mean number of annotated images in
    the batches of 64 that have any.

    A sum depends on how a step is split: with gradient accumulation or several processes it is divided by the number of
    batches in a step, whereas "batch" gives the same result.

    With boxes on a fraction f of the images λ becomes λ / f, at most 100 λ. The paper raises λ by hand, to values that are
    not known here.

    Note:
        Boxes are drawn and dilated by the collator; annotations are removed by ``with_annotated_fraction``. The model
        is trained with ``problem_type="multi_label_classification"``: L_task is then the mean binary cross-entropy.

    Args:
        loss: "energy", "l1", "ppce" or "rrr" (RRR*).
        model: "vanilla", "xdnn" or "bcos": decides the attribution, and which are allowed.
        attribution: "ixg", "gradcam", "intgrad" (X-DNN only, one exact gradient) or "bcos" (B-cos only); None takes that
            of the paper for the model: IxG, IntGrad, or B-cos contributions.
        layer: "input" or "final", as in the paper, or "mid1", "mid2", "mid3" (appendix B.3).
        weight: λ with boxes on all images; the middle one of ``WEIGHTS[loss]`` if None.
        fraction: Share of the images with boxes, in (0, 1].
        reduction: "sum", "batch" or "rows", as in Term.

    Raises:
        ValueError: An unknown name, an attribution that the model does not have, a fraction outside (0, 1], or a weight that
            is not a finite number >= 0.

    Example:
        >>> guidance = model_guidance("energy", "bcos", layer="final", weight=WEIGHTS["energy"][2])
    """
    check_choice("loss", loss, tuple(_LOSSES))
    check_choice("model", model, tuple(_ATTRIBUTIONS))
    check_choice("reduction", reduction, _REDUCTIONS)
    chosen = _ATTRIBUTIONS[model][0] if attribution is None else attribution
    if chosen not in _ATTRIBUTIONS[model]:
        raise ValueError(
            f"attribution={attribution!r} is unknown for model={model!r}; choose one of {list(_ATTRIBUTIONS[model])}."
        )
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction!r} is outside (0, 1]; without annotations there is nothing to guide by.")
    if weight is not None and not isinstance(weight, int | float):
        raise ValueError(f"weight={weight!r} is not a number; give λ, as {WEIGHTS[loss][1]}, or None for it.")
    summed = (WEIGHTS[loss][1] if weight is None else weight) / max(fraction, _SMALLEST_FRACTION)
    annotated = BATCH_SIZE * fraction / (1 - (1 - fraction) ** BATCH_SIZE)
    factor = {"sum": 1.0, "batch": BATCH_SIZE, "rows": annotated}[reduction]
    return Guidance({loss: Term(_LOSSES[loss](_attribution(chosen, layer)), summed * factor, reduction)})


def _attribution(name: str, layer: str) -> Attribution:
    if name == "intgrad":
        return IntegratedGradients(layer, exact=True)
    kinds: Mapping[str, type[Attribution]] = {"ixg": InputXGradient, "gradcam": GradCAM, "bcos": BcosContribution}
    return kinds[name](layer)
