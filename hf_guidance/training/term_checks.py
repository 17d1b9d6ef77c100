"""TermChecks: a term that cannot move the model raises an error at the first guided steps, instead of a silent zero."""

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
from hf_guidance.views.layers import choices, is_attention

logger = logging.get_logger(__name__)

_PATIENCE = 10  # optimizer steps in which a head initialised to zero may learn to pass gradients
_ROUNDING = 64  # units of rounding up to which a gradient counts as zero, see check_terms


class TermChecks:
    """Judges the terms of a training run at its first guided steps, until every term could be judged once."""

    def __init__(self) -> None:
        self._done = False
        self._since: int | None = None

    def reset(self) -> None:
        """Judge all terms again, as for a new model."""
        self._done, self._since = False, None

    def __call__(self, guidance: Guidance, forward: Forward, parameters: Iterable[Tensor], step: int) -> None:
        """Judge the terms, unless all were judged already.

        Args:
            guidance: The terms.
            forward: As for ``check_terms``.
            parameters: The model's parameters.
            step: Number of optimizer steps taken so far.

        Raises:
            ValueError: As for ``check_terms``.
        """
        if self._done or not guidance.on_attributions:
            return
        self._since = step if self._since is None else self._since
        self._done = check_terms(guidance, forward, parameters, patient=step < self._since + _PATIENCE)


def check_terms(guidance: Guidance, forward: Forward, parameters: Iterable[Tensor], *, patient: bool = True) -> bool:
    """Check that every weighted term on attributions moves some parameter.

    A term moves a parameter if the gradient of its loss L exceeds rounding. The bound is 64 units of rounding of the gradient
    that a loss of this size could have: |L| / max |A| times the gradient of the mean of the map A.

    Args:
        guidance: The terms.
        forward: A forward with at least one annotated explained row, gradients enabled.
        parameters: The model's parameters.
        patient: Whether a head that is zero, as at the start of a fine-tuning, may still learn to pass gradients.

    Returns:
        Whether every term could be judged. A term cannot be judged while its loss is zero or flat on these maps (as where
        all positive attribution lies outside the boxes), while its maps have no positive entry, or while the head above it
        is zero: check again later.

    Raises:
        ValueError: The gradient at a layer is zero, the entries of a map cancel, or no trainable parameter is reached.
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
        at_layer = not is_attention(attribution.layer) and (FULL, attribution.layer) in attribution.needs()
        if at_layer and waits and not bool(forward.gradient(attribution.layer, attribution.target).any()):
            reason: str | None = "the head's weight is zero, so the term moves nothing until it is not"
        else:
            if at_layer:
                _check_layer(name, attribution, forward)
            reason = _still(name, term.objective, forward, trainable)
        if reason is not None:
            logger.warning_once(f"term {name!r}: {reason}.")
            judged = False
    return judged


def _still(name: str, objective: AttributionObjective, forward: Forward, trainable: list[Tensor]) -> str | None:
    """None where a term moves a parameter, the reason where it may do so later; raises where it never can."""
    counts = objective.rows(forward) > 0
    values = torch.where(counts, objective(forward), 0)
    maps = forward.attribution(objective.attribution)[counts]
    reached = bool(trainable) and values.requires_grad
    possible = _largest_gradient((maps * _ramp(maps)).sum() / max(1, maps[:1].numel()), trainable)
    if reached and _largest_gradient(values.sum(), trainable) > _rounding(values, maps) * possible:
        return None
    if reached and not bool(values.any()):
        return "its loss is zero on this batch (nothing to mend, or no row that counts), so the term moves nothing yet"
    if reached and not bool((maps > 0).any()):
        return "no map of this batch has a positive entry, so the term moves nothing yet"
    # A normalised map with one nonzero entry is constant for every model; with more, the loss may change as maps change.
    if reached and bool(((maps != 0).flatten(1).sum(1) > 1).any()) and possible > 0:
        return (
            "its loss is flat on this batch's maps (as where all positive attribution lies outside the boxes), so the term "
            "moves nothing yet"
        )
    raise ValueError(
        f"term {name!r} ({objective}) moves no parameter that is trained: everything above its layer is frozen, or "
        "the attribution is detached from the model, or the loss does not depend on the map (a normalised map of one "
        "sampled box is always 1). Unfreeze a module above the layer, choose an earlier layer, or sample more boxes."
    )


def _ramp(maps: Tensor) -> Tensor:
    return torch.linspace(1, 2, maps.numel(), dtype=maps.dtype, device=maps.device).reshape(maps.shape)


def _rounding(values: Tensor, maps: Tensor) -> float:
    unit = min(_ROUNDING * torch.finfo(maps.dtype).eps, 1e-3)
    largest = float(maps.detach().abs().max()) if maps.numel() else 0.0
    return unit * float(values.detach().abs().max()) / largest if largest else 0.0


def _largest_gradient(loss: Tensor, trainable: list[Tensor]) -> float:
    if not (trainable and loss.requires_grad):
        return 0.0
    gradients = torch.autograd.grad(loss, trainable, retain_graph=True, allow_unused=True)
    return max(
        (float(gradient.abs().max()) for gradient in gradients if gradient is not None and gradient.numel()),
        default=0.0,
    )


def _head_is_zero(parameters: Iterable[Tensor], classes: int) -> bool:
    return any(p.dim() > 1 and len(p) == classes and not bool(p.any()) for p in parameters)


def _check_layer(name: str, attribution: Attribution, forward: Forward) -> None:
    layer = attribution.layer
    offered = choices(forward.family.layers)
    if not bool(forward.gradient(layer, attribution.target).any()):
        raise ValueError(
            f"term {name!r}: the gradient at layer {layer!r} is zero for every annotated row, so nothing that is seen "
            f"there reaches the explained logit (after the last block of a ViT only the class token does). Choose one of "
            f"{offered}."
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
                f"as directly before a LayerNorm; choose the LayerNorm's output or one of {offered}."
            )
