"""TermChecks: a term that cannot move the model raises an error at the first guided steps, instead of a silent zero."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable

import torch
from torch import Tensor
from transformers.utils import logging

from hf_guidance.attributions import Attribution, Gradient, InputXGradient, LabelLogit
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import AttributionObjective
from hf_guidance.objectives.saved_map import SavedMapObjective
from hf_guidance.views import FULL
from hf_guidance.views.layers import choices, is_attention

logger = logging.get_logger(__name__)

_PATIENCE = 10  # optimizer steps in which a head that begins at zero may learn to pass gradients
_LOOKS = 10  # guided steps after which a term whose loss stays flat is not looked at any more
_ROUNDING = 64  # units of rounding, relative to what could move: what is below is taken for zero
_ZERO_HEAD = "the head's weight is zero, so the term moves nothing until it is not"
_ZERO_LOSS = "its loss is zero on this batch (nothing to mend, or no row that counts), so the term moves nothing yet"
_NO_POSITIVE = "no map of this batch has a positive entry, so the term moves nothing yet"
_FLAT = (
    "its loss is flat on this batch's maps (as where all positive attribution lies outside the boxes), so the term moves "
    "nothing yet"
)


class TermChecks:
    """Judges the terms of a training run at its first guided steps, each term until it could be judged once.

    A term whose loss is flat costs a derivative more to judge; it is given up after ten looks, with a warning. Looks, and the
    patience with a head of zeros, begin for each term at the first step that has it, which may be late by a schedule.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as with a new model."""
        self._judged: set[str] = set()
        self._looks: Counter[str] = Counter()
        self._since: dict[str, int] = {}

    def open_terms(self, guidance: Guidance) -> list[str]:
        """The terms on attributions that were not judged yet."""
        return [name for name in guidance.on_attributions if name not in self._judged]

    def __call__(self, guidance: Guidance, forward: Forward, parameters: Iterable[Tensor], step: int) -> None:
        """Judge the terms that were not judged yet.

        Args:
            guidance: The terms.
            forward: As for ``check_terms``.
            parameters: The model's parameters.
            step: Number of optimizer steps taken so far.

        Raises:
            ValueError: As for ``check_terms``.
        """
        open_terms = self.open_terms(guidance)
        if not open_terms:
            return
        self._looks.update(open_terms)
        patient = {name for name in open_terms if step < self._since.setdefault(name, step) + _PATIENCE}
        reasons = _unjudged(guidance, open_terms, forward, parameters, patient)
        for name in open_terms:
            looks = self._looks[name]
            flat = reasons.get(name) == _FLAT and looks >= _LOOKS
            if flat:
                logger.warning(f"term {name!r} was flat at {looks} guided steps; it is not looked at any more.")
            if flat or name not in reasons:
                self._judged.add(name)


def check_terms(guidance: Guidance, forward: Forward, parameters: Iterable[Tensor], *, patient: bool = True) -> bool:
    """Check that every weighted term on attributions moves some parameter.

    With A the map and g = dL/dA, a term moves a parameter w where ``|dL/dw| > 64 eps |d(sum |g| A)/dw|``, both the largest
    over all w: what is below is what rounding leaves where the parts of ``sum g dA/dw`` cancel, and differs by machine.

    Args:
        guidance: The terms.
        forward: A forward with at least one annotated row, gradients enabled.
        parameters: The model's parameters.
        patient: Whether a head that is zero, as at the start of a fine-tuning, may still learn to pass gradients.

    Returns:
        Whether every term could be judged. A term cannot be judged if its loss is zero or flat on these maps (as where all
        positive attribution lies outside the boxes), if its maps have no positive entry yet, or if it lies below a head that
        is still zero: check again later.

    Raises:
        ValueError: The gradient at a layer is zero, input times gradient cancels, or no trainable parameter is reached.
    """
    names = list(guidance.on_attributions)
    return not _unjudged(guidance, names, forward, parameters, names if patient else ())


def _unjudged(
    guidance: Guidance, names: Iterable[str], forward: Forward, parameters: Iterable[Tensor], patient: Collection[str]
) -> dict[str, str]:
    """The terms that cannot be judged yet, with the reason; the head of those in ``patient`` may still be zero."""
    parameters, found = list(parameters), {}
    trainable = [p for p in parameters if p.requires_grad]
    zero = bool(patient) and _head_is_zero(parameters, forward.logits().shape[-1])
    for name in names:
        term = guidance[name]
        assert isinstance(term.objective, AttributionObjective)
        if not term.weight:
            continue
        attribution = term.objective.attribution
        at_layer = not is_attention(attribution.layer) and (FULL, attribution.layer) in attribution.needs()
        if (
            at_layer
            and zero
            and name in patient
            and not bool(forward.gradient(attribution.layer, attribution.target).any())
        ):
            reason: str | None = _ZERO_HEAD
        else:
            if at_layer:
                _check_layer(name, attribution, forward)
            reason = _still(name, term.objective, forward, trainable)
        if reason is not None:
            logger.warning_once(f"term {name!r}: {reason}.")
            found[name] = reason
    return found


def _still(name: str, objective: AttributionObjective, forward: Forward, trainable: list[Tensor]) -> str | None:
    """None where a term moves a parameter, the reason where it may do so later; raises where it never can."""
    values = torch.where(objective.rows(forward) > 0, objective(forward), 0)
    maps = forward.attribution(objective.attribution)
    reached = bool(trainable) and values.requires_grad and maps.requires_grad
    largest = _largest_gradient(values.sum(), trainable)
    if not math.isfinite(largest):
        return None
    if reached and not largest and not bool(values.any()):
        return _ZERO_LOSS
    slope = _slope(values, maps) if reached else torch.zeros_like(maps)
    _hint_at_contrast(name, objective, forward, maps, slope)
    if reached and not largest and not bool((maps > 0).any()):
        return _NO_POSITIVE
    unit = _ROUNDING * torch.finfo(maps.dtype).eps
    # Of a map of one place a normalisation leaves its sign: the loss is the same whatever the place holds.
    one_place = getattr(objective.attribution, "explains_one_place", False)
    constant = one_place and bool((slope * maps).abs().amax() <= unit * values.abs().amax())
    if not constant:
        if largest > unit * _largest_gradient((slope.abs() * maps).sum(), trainable):
            return None
        if reached and _largest_gradient((maps * _ramp(maps)).sum(), trainable) > 0:
            return _FLAT
    raise ValueError(
        f"term {name!r} ({objective}) moves no parameter that is trained: everything above its layer is frozen, or "
        "the attribution is detached from the model, or the loss does not depend on the map (a normalised map of one "
        "sampled box is always 1). Unfreeze a module above the layer, choose an earlier layer, or sample more boxes."
    )


def _hint_at_contrast(
    name: str, objective: AttributionObjective, forward: Forward, maps: Tensor, slope: Tensor
) -> None:
    """Tell who explains one logit of two, and so has dead maps, of the difference of the two."""
    attribution = objective.attribution
    if forward.logits().shape[-1] != 2 or getattr(attribution, "target", None) != LabelLogit():
        return
    dead = ((maps <= 0) & (slope == 0)).flatten(1).all(1)
    if bool(dead.any()) and not isinstance(objective, SavedMapObjective):  # saved maps are of the target that made them
        logger.warning_once(
            f"term {name!r}: there are maps without a positive entry, which the term cannot move. With two classes only the "
            "difference of the logits is learned, and one of them may be negative everywhere: the difference, "
            f"{type(attribution).__name__}({attribution.layer!r}, target=ContrastLogits()), usually is not."
        )


def _slope(values: Tensor, maps: Tensor) -> Tensor:
    """d loss / d map, without graph."""
    (found,) = torch.autograd.grad(values.sum(), maps, retain_graph=True, allow_unused=True)
    return torch.zeros_like(maps) if found is None else found.detach()


def _ramp(maps: Tensor) -> Tensor:
    return torch.linspace(1, 2, maps.numel(), dtype=maps.dtype, device=maps.device).reshape(maps.shape)


def _largest_gradient(loss: Tensor, trainable: list[Tensor]) -> float:
    """The largest entry; infinite where one is not finite, which is a fault of another kind than standing still."""
    if not (trainable and loss.requires_grad):
        return 0.0
    found = torch.autograd.grad(loss, trainable, retain_graph=True, allow_unused=True)
    largest = [float(gradient.abs().max()) for gradient in found if gradient is not None and gradient.numel()]
    return max(largest, default=0.0) if all(map(math.isfinite, largest)) else math.inf


def _head_is_zero(parameters: Iterable[Tensor], classes: int) -> bool:
    return any(p.dim() > 1 and len(p) == classes and not bool(p.any()) for p in parameters)


def _offered(forward: Forward) -> list[str]:
    try:
        return choices(forward.family.layers)
    except ValueError:  # only the input of this net is known
        return choices({})


def _check_layer(name: str, attribution: Attribution, forward: Forward) -> None:
    layer = attribution.layer
    if not bool(forward.gradient(layer, attribution.target).any()):
        raise ValueError(
            f"term {name!r}: the gradient at layer {layer!r} is zero for every annotated row, so nothing that is seen "
            f"there reaches the explained logit (after the last block of a ViT only the class token does). Choose one of "
            f"{_offered(forward)}."
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
                f"as directly before a LayerNorm; choose the LayerNorm's output or one of {_offered(forward)}."
            )
