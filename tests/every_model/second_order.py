"""Whether the gradient of a guided step is that of finite differences, for a whole model in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from every_model.candidate import Candidate, images_of
from every_model.in_double import InDouble
from every_model.weights import fit_norms, open_every_path
from hf_guidance.attributions import InputXGradient
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import L1
from hf_guidance.training.attention import use_differentiable_attention

_STEPS = (1e-7, 1e-9, 1e-10, 1e-11)  # a ReLU between the two points spoils the larger, rounding the smallest
CLOSE = 1e-4  # relative
GUIDANCE = Guidance(map=Term(L1(InputXGradient("input")), weight=10.0))


def disagreement(candidate: Candidate) -> float:
    """How far the derivative of a guided step's loss along a random direction of the weights is from finite differences.

    Returns:
        Relative to the larger of the two; below CLOSE where second derivatives are right.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with InDouble():
            return _disagreement(candidate)
    finally:
        torch.set_default_dtype(before)


def _disagreement(candidate: Candidate) -> float:
    model = candidate.build().double()
    open_every_path(model)
    images = images_of(candidate, 1).double()
    with torch.no_grad():
        fit_norms(model, candidate.columns(torch.cat([images, images_of(candidate, 1, seed=3).double()])))
    use_differentiable_attention(model)
    batch = _batch(candidate, images)
    weights = [p for p in model.parameters() if p.requires_grad and p.is_floating_point()]
    loss = _loss(model, batch)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    torch.manual_seed(2)
    direction = [torch.randn_like(p) * p.norm() / max(1.0, p.numel() ** 0.5) for p in weights]
    exact = sum(float((g * d).sum()) for g, d in zip(found, direction, strict=True) if g is not None)
    least = float("inf")
    for step in _STEPS:
        least = min(least, _relative(_slope(model, batch, weights, direction, step), exact))
        if least < CLOSE:
            break
    return least


def _batch(candidate: Candidate, images: Tensor) -> dict[str, Any]:
    labels = torch.zeros(1, dtype=torch.long)
    importance = torch.zeros(1, *candidate.size)
    importance[:, : candidate.size[0] // 2, : candidate.size[1] // 2] = 1
    return dict(candidate.columns(images)) | {"labels": labels, "target": labels, "importance": importance}


def _loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    loss, _ = GUIDANCE(Forward(model, family_of(model), batch, GUIDANCE.needs()))
    return loss


def _slope(
    model: nn.Module, batch: dict[str, Any], weights: list[Tensor], direction: list[Tensor], step: float
) -> float:
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, along in zip(weights, direction, strict=True):
                weight.add_(along, alpha=sign * step)
        ends.append(float(_loss(model, batch).detach()))
        with torch.no_grad():
            for weight, along in zip(weights, direction, strict=True):
                weight.sub_(along, alpha=sign * step)
    return (ends[0] - ends[1]) / (2 * step)


def _relative(one: float, other: float) -> float:
    return abs(one - other) / max(abs(one), abs(other), 1e-12)
