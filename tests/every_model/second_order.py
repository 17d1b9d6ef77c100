"""Whether the gradient of a guided step is that of autograd's own double backward, for a whole model in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from every_model.candidate import Candidate, images_of
from every_model.in_double import InDouble
from every_model.plain_autograd import plain_autograd
from every_model.same_dropout import SameDropout
from every_model.weights import fit_norms, open_every_path
from hf_guidance.attributions import InputXGradient
from hf_guidance.common.outputs import logits_of
from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward, Needs
from hf_guidance.second_order.missing import named
from hf_guidance.training.attention import use_differentiable_attention
from hf_guidance.training.second_order_trainer import refuse_once_only

CLOSE = 1e-8  # relative
METHOD = InputXGradient("input")
_LEAST = 1e-6  # parameters whose gradient is smaller, relative to the largest, are measured by that
_WEIGHT = 10.0


def disagreement(candidate: Candidate, *, images: int = 2, training: bool = False) -> float:
    """How far the gradients of a guided step's loss at the weights are from those of plain autograd.

    The loss is cross-entropy plus a random linear function of the maps of InputXGradient at the input, so that no kink is in
    it. Of one image the plain side computes two equal ones, because the backward of PyTorch's BatchNorm is wrong for one.

    Args:
        candidate: The model.
        images: How many images the batch holds.
        training: Whether the model is in train mode.

    Returns:
        The largest relative distance over parameters; below CLOSE where second derivatives are right.

    Raises:
        ValueError: The library refuses the model.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with InDouble(), SameDropout():
            model = candidate.build().double()
            open_every_path(model)
            batch = _batch(candidate, images)
            fit_norms(model, candidate.columns(images_of(candidate, 3, seed=3).double()))
            return _Trial(model, family_of(model), batch, training).disagreement()
    finally:
        torch.set_default_dtype(before)


def _batch(candidate: Candidate, images: int) -> dict[str, Any]:
    labels = torch.arange(images) % 2
    return dict(candidate.columns(images_of(candidate, images).double())) | {"labels": labels, "target": labels}


@dataclass(frozen=True)
class _Trial:
    model: nn.Module
    family: Family
    batch: dict[str, Any]
    training: bool

    def disagreement(self) -> float:
        weights = [p for p in self.model.parameters() if p.requires_grad and p.is_floating_point()]
        self.begin()
        with plain_autograd():
            plain = _gradients(self.plain_loss(), weights)
        use_differentiable_attention(self.model, {"input"})
        refuse_once_only(self.model)
        self.begin()
        with named(self.model, self.guided_loss):
            guided = _gradients(self.guided_loss(), weights)
        return _distance(guided, plain)

    def begin(self) -> None:
        torch.manual_seed(2)  # of dropout
        # LeViT and its kin keep attention biases in eval mode, with the graph of the call before or without one. Train mode
        # forgets them.
        self.model.train().train(self.training)

    def guided_loss(self) -> Tensor:
        forward = Forward(self.model, self.family, self.batch, Needs(METHOD.needs()))
        return self.loss(forward.logits(), forward.attribution(METHOD))

    def plain_loss(self) -> Tensor:
        inputs = {name: self.batch[name] for name in self.family.inputs if name in self.batch}
        repeats = 2 if len(self.batch["labels"]) == 1 else 1
        inputs = {name: torch.cat([value] * repeats) for name, value in inputs.items()}
        inputs[self.family.features] = leaf = inputs[self.family.features].clone().requires_grad_()
        outputs = self.model(**inputs, **self.family.arguments)
        logits = logits_of(outputs, self.family.logits, self.family.times)
        scores = logits.gather(1, self.batch["target"].repeat(repeats)[:, None])
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, create_graph=True)
        maps = (self.family.canonical(leaf) * self.family.canonical(gradient)).sum(1)
        return self.loss(logits[: len(logits) // repeats], maps[: len(maps) // repeats])

    def loss(self, logits: Tensor, maps: Tensor) -> Tensor:
        along = torch.randn(maps.shape, generator=torch.Generator().manual_seed(3))
        return F.cross_entropy(logits, self.batch["labels"]) + _WEIGHT * (along * maps).sum() / maps.detach().norm()


def _gradients(loss: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]


def _distance(found: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    sizes = [float(g.norm()) for g in right]
    least = _LEAST * max(sizes)
    assert 0 < least < float("inf"), "the gradient of plain autograd is zero or not finite"
    apart = [float((a - b).norm()) / max(size, least) for a, b, size in zip(found, right, sizes, strict=True)]
    return max(apart) if all(d == d for d in apart) else float("inf")
