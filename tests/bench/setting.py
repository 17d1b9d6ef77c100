"""The models, batches and steps that the benchmarks time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hf_guidance.attributions import InputXGradient
from hf_guidance.families import family_of
from hf_guidance.forward import ExplainedRows, Forward, recording
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Energy
from hf_guidance.training.attention import use_differentiable_attention

LAYERS = ("input", "mid1", "mid2", "mid3", "final")
CLASSES = 10


def _resnet(size: int) -> nn.Module:
    sizes = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
    return ResNetForImageClassification(ResNetConfig(layer_type="basic", num_labels=CLASSES, **sizes))


def _convnext(size: int) -> nn.Module:
    return ConvNextForImageClassification(
        ConvNextConfig(hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2], num_labels=CLASSES)
    )


def _vit(size: int | tuple[int, int]) -> nn.Module:
    sizes = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
    return ViTForImageClassification(ViTConfig(image_size=size, num_labels=CLASSES, **sizes))


MODELS: dict[str, Callable[[Any], nn.Module]] = {"resnet-18": _resnet, "convnext-atto": _convnext, "vit-tiny": _vit}


class Setting:
    """One model with one batch, and the steps to time on them."""

    def __init__(self, name: str, batch: int, size: int | tuple[int, int], device: str) -> None:
        torch.manual_seed(0)
        self.name, self.device = name, device
        self.model = MODELS[name](size).to(device).eval()
        use_differentiable_attention(self.model)
        self.family = family_of(self.model)
        height, width = (size, size) if isinstance(size, int) else size
        self.images = torch.randn(batch, 3, height, width, device=device)
        self.labels = torch.randint(CLASSES, (batch,), device=device)
        self.importance = (torch.rand(batch, height, width, device=device) > 0.7).float()

    def batch(self, images: slice = slice(None), annotated: bool = True) -> dict[str, Any]:
        """The columns of some images, as the collator makes them."""
        labels = self.labels[images]
        columns = {"pixel_values": self.images[images], "labels": labels, "target": labels}
        rows = {"row": list(range(len(labels))), "slot": [0] * len(labels), "annotated": [annotated] * len(labels)}
        return columns | rows | {"importance": self.importance[images]}

    def plain(self) -> None:
        """Forward, cross-entropy, backward."""
        self.model.zero_grad(set_to_none=True)
        F.cross_entropy(self.model(pixel_values=self.images).logits, self.labels).backward()

    def guided(self, layer: str, annotated: bool = True) -> None:
        """What GuidedTrainer does with a batch: with no annotated row it is the plain forward."""
        self.model.zero_grad(set_to_none=True)
        guidance = Guidance(energy=Energy(InputXGradient(layer)))
        batch = ExplainedRows().draw_one_per_image(self.batch(annotated=annotated))
        found = bool(ExplainedRows().annotated_images(batch))
        forward = Forward(
            self.model, self.family, ExplainedRows().annotated_only(batch) if found else batch, guidance.needs(found)
        )
        loss, _ = guidance(forward, None) if found else guidance(None, forward)
        loss.backward()

    def guided_by_image(self, layer: str) -> None:
        """The same loss as research code computes it: one autograd call an image, on the batch's graph."""
        self.model.zero_grad(set_to_none=True)
        images = self.images.clone().requires_grad_()
        with _recorded(self.model, self.family, layer, images) as found:
            logits = self.model(pixel_values=images).logits
        energy = torch.zeros((), device=self.device)
        for index, label in enumerate(self.labels.tolist()):
            (gradient,) = torch.autograd.grad(logits[index, label], found[0], create_graph=True)
            map_ = self._map(found[0], gradient)[index].clamp_min(0)
            inside = (map_ * self._on(map_, index)).sum()
            energy = energy + 1 - inside / map_.sum().clamp_min(1e-12)
        (F.cross_entropy(logits, self.labels) + energy / len(images)).backward()

    def evaluate_slots(self, layer: str, pairs: Sequence[tuple[int, int]]) -> None:
        """Maps of all (image, class) pairs by the library: one backward a slot."""
        taken = [0] * len(self.images)
        slot = []
        for image, _ in pairs:
            slot.append(taken[image])
            taken[image] += 1
        target = torch.tensor([label for _, label in pairs], device=self.device)
        rows = {"row": [image for image, _ in pairs], "slot": slot, "target": target}
        method = InputXGradient(layer)
        with torch.no_grad():
            Forward(self.model, self.family, {"pixel_values": self.images} | rows, method.needs()).attribution(method)

    def evaluate_pairs(self, layer: str, pairs: Sequence[tuple[int, int]]) -> None:
        """The same maps with one backward a pair."""
        images = self.images.clone().requires_grad_()
        with _recorded(self.model, self.family, layer, images) as found:
            logits = self.model(pixel_values=images).logits
        for image, label in pairs:
            (gradient,) = torch.autograd.grad(logits[image, label], found[0], retain_graph=True)
            self._map(found[0], gradient)[image].detach()

    def _map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        size = (self.images.shape[-2], self.images.shape[-1])
        return self.family.spatial(activation * gradient, size).sum(1)

    def _on(self, map_: Tensor, index: int) -> Tensor:
        return F.interpolate(self.importance[None, None, index], map_.shape, mode="area")[0, 0]


@contextmanager
def _recorded(model: nn.Module, family: Any, layer: str, images: Tensor) -> Iterator[list[Tensor]]:
    found: list[Tensor] = [images] if layer == "input" else []
    hook = None
    if layer != "input":
        module = model.get_submodule(family.path(layer, model))
        hook = module.register_forward_hook(lambda _, __, output: found.append(output))
    try:
        yield found
    finally:
        if hook is not None:
            hook.remove()


def autograd_only(step: Callable[[], None]) -> None:
    """Run a step with autograd's own double backward."""
    with patch.object(recording, "fast_double_backward", lambda *_, **__: nullcontext()):
        step()
