"""Checks at the first guided step: a term that cannot move the model is an error, not a silent zero."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from transformers.utils import logging

from hf_guidance.attributions import Attribution, Gradient, InputXGradient
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import AttributionObjective
from hf_guidance.views import FULL

logger = logging.get_logger(__name__)


def check_terms(guidance: Guidance, forward: Forward, parameters: Iterable[Tensor], *, patient: bool = True) -> bool:
    """Check that every weighted term on attributions moves some parameter.

    Args:
        guidance: The terms.
        forward: A forward with at least one annotated row, gradients enabled.
        parameters: The model's parameters.
        patient: Whether a head that is zero, as at the start of a fine-tuning, may still learn to pass gradients.

    Returns:
        Whether every term could be judged. A term cannot whose loss is zero or flat on these maps (as where all that is
        positive lies outside the boxes), nor one whose maps have no positive entry yet or that lies below a head that is
        still zero: check again later.

    Raises:
        ValueError: The gradient at a layer is zero, input times gradient cancels, or no trainable parameter is reached.
    """
    parameters = list(parameters)
    trainable = [p for p in parameters if p.requires_grad]
    waits = patient and _head_is_zero(parameters, forward.logits().shape[-1])
    judged = True
    for name, term in guidance.on_attributions.items():
        assert isinstance(term.objective, AttributionObjective)
        if not term.weight:
            continue
        attribution = term.objective.attribution
        at_layer = attribution.layer != "attention" and (FULL, attribution.layer) in attribution.needs()
        if at_layer and waits and not bool(forward.gradient(attribution.layer, attribution.target).any()):
            logger.warning_once(f"term {name!r}: the head's weight is zero, so the term moves nothing until it is not.")
            judged = False
            continue
        if at_layer:
            _check_layer(name, attribution, forward)
        counts = term.objective.rows(forward) > 0
        values = torch.where(counts, term.objective(forward), 0)
        if _moves(values.sum(), trainable):
            continue
        maps = forward.attribution(attribution)
        if trainable and values.requires_grad and (reason := _rightly_still(values, maps[counts], trainable)):
            logger.warning_once(f"term {name!r}: {reason}, so the term moves nothing yet.")
            judged = False
            continue
        raise ValueError(
            f"term {name!r} ({term.objective}) moves no parameter that is trained: everything above its layer is frozen, or "
            "the attribution is detached from the model, or the loss does not depend on the map (a normalised map of one "
            "sampled box is always 1). Unfreeze a module above the layer, choose an earlier layer, or sample more boxes."
        )
    return judged


def _rightly_still(values: Tensor, maps: Tensor, trainable: list[Tensor]) -> str | None:
    if not bool(values.any()):
        return "its loss is zero on this batch (nothing to mend, or no row that counts)"
    if not bool((maps > 0).any()):
        return "no map of this batch has a positive entry"
    # A normalised map of a single entry is constant whatever the model becomes; other maps only where they are now.
    several = bool(((maps != 0).flatten(1).sum(1) > 1).any())
    ramp = torch.linspace(1, 2, maps.numel(), dtype=maps.dtype, device=maps.device).reshape(maps.shape)
    if several and _moves((maps * ramp).sum(), trainable):
        return "its loss is flat on this batch's maps (as where all that is positive lies outside the boxes)"
    return None


def _moves(loss: Tensor, trainable: list[Tensor]) -> bool:
    if not (trainable and loss.requires_grad):
        return False
    gradients = torch.autograd.grad(loss, trainable, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _head_is_zero(parameters: Iterable[Tensor], classes: int) -> bool:
    return any(p.dim() > 1 and len(p) == classes and not bool(p.any()) for p in parameters)


def _check_layer(name: str, attribution: Attribution, forward: Forward) -> None:
    layer = attribution.layer
    if not bool(forward.gradient(layer, attribution.target).any()):
        raise ValueError(
            f"term {name!r}: the gradient at layer {layer!r} is zero for every annotated row, so nothing that is seen "
            f"there reaches the explained logit (after the last block of a ViT only the class token does). Choose one of "
            f"{['input', *forward.family.layers]}."
        )
    if isinstance(attribution, InputXGradient | Gradient):
        parts = forward.gradient(layer, attribution.target)
        if isinstance(attribution, InputXGradient):
            parts = parts * forward.activation(layer)
        elif attribution.channels == "square":
            parts = parts.square()
        magnitude = parts.abs().flatten(1).sum(1)
        share = forward.attribution(attribution).abs().flatten(1).sum(1) / magnitude.clamp_min(1e-30)
        if bool((share < 1e-5).all()):
            raise ValueError(
                f"term {name!r}: {type(attribution).__name__} cancels at layer {layer!r} (the map is below 1e-5 of its parts), "
                f"as directly before a LayerNorm; choose the LayerNorm's output or one of {['input', *forward.family.layers]}."
            )
