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

logger = logging.get_logger(__name__)


def check_terms(guidance: Guidance, forward: Forward, parameters: Iterable[Tensor], *, patient: bool = True) -> bool:
    """Check that every weighted term on attributions moves some parameter.

    Args:
        guidance: The terms.
        forward: A forward with at least one annotated row, gradients enabled.
        parameters: The model's parameters.
        patient: Whether a head that is zero, as at the start of a fine-tuning, may still learn to pass gradients.

    Returns:
        Whether every term could be judged. A term whose maps have no positive entry yet cannot, nor one
        below a head that is still zero: check again later.

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
        if waits and not bool(forward.gradient(attribution.layer, attribution.target).any()):
            logger.warning_once(f"term {name!r}: the head's weight is zero, so the term moves nothing until it is not.")
            judged = False
            continue
        _check_layer(name, attribution, forward)
        loss = torch.where(term.objective.rows(forward) > 0, term.objective(forward), 0).sum()
        if _moves(loss, trainable):
            continue
        if trainable and loss.requires_grad and not bool((forward.attribution(attribution) > 0).any()):
            logger.warning(f"term {name!r}: no map of this batch has a positive entry, so the term moves nothing yet.")
            judged = False
            continue
        raise ValueError(
            f"term {name!r} ({term.objective}) moves no parameter that is trained: everything above its layer is frozen, or "
            "the attribution is detached from the model. Unfreeze a module above the layer, or choose an earlier layer."
        )
    return judged


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
