"""The ResNet-50-shaped nets of Model Guidance with one batch: the library's way beside one autograd call an image.

The second way is written here as research code does it: the classes of one image after the other, each by an
``autograd.grad`` over the graph of the whole batch, a map, a mask and a loss of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import ResNetConfig, ResNetForImageClassification

from hf_guidance.attributions import Attribution, BcosContribution, InputXGradient, IntegratedGradients
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.models import (
    BcosResNetConfig,
    BcosResNetForImageClassification,
    XDNNResNetConfig,
    XDNNResNetForImageClassification,
)
from hf_guidance.models.xdnn_resnet.modeling import XDNNConvolution
from hf_guidance.objectives import Energy
from hf_guidance.second_order.dynamic_weights import fixed_dynamic_weights

CLASSES, MULTI = 20, "multi_label_classification"
WEIGHT = 1e-3


def _vanilla() -> nn.Module:
    return ResNetForImageClassification(ResNetConfig(num_labels=CLASSES, problem_type=MULTI))


def _xdnn() -> nn.Module:
    """Begins with a zero head and zero last convolutions, so with zero maps: they are drawn as the others."""
    config = XDNNResNetConfig.of_depth(50, num_labels=CLASSES, problem_type=MULTI)
    model = XDNNResNetForImageClassification(config)
    for module in model.modules():
        if isinstance(module, XDNNConvolution) and module.scale == 0:
            module.scale = 1.0
            module.reset_parameters()
    nn.init.kaiming_normal_(model.classifier.weight, nonlinearity="linear")
    return model


def _bcos() -> nn.Module:
    return BcosResNetForImageClassification(BcosResNetConfig.of_depth(50, num_labels=CLASSES, problem_type=MULTI))


MODELS: dict[str, tuple[Callable[[], nn.Module], type[Attribution]]] = {
    "vanilla": (_vanilla, InputXGradient),
    "xdnn": (_xdnn, IntegratedGradients),
    "bcos": (_bcos, BcosContribution),
}


class Setting:
    """A model, a batch, and the steps; every step returns the seconds of its parts.

    Args:
        name: Key of MODELS.
        batch: Images, all annotated.
        size: Height and width in pixels.
        device: "cpu" or "cuda".
    """

    def __init__(self, name: str, batch: int, size: int, device: str) -> None:
        torch.manual_seed(0)
        build, self.method = MODELS[name]
        self.name, self.device = name, device
        self.model = build().to(device).eval()
        self.family = family_of(self.model)
        torch.manual_seed(0)  # the same batch for every model
        images = torch.rand(batch, 3, size, size, device=device)
        self.images = torch.cat([images, 1 - images], dim=1) if name == "bcos" else images
        self.labels = (
            torch.rand(batch, CLASSES, device=device) < 0.026
        ).float()  # with the next line 1.5 an image, as VOC
        self.labels[torch.arange(batch), torch.randint(CLASSES, (batch,))] = 1
        self.target = self.labels.argmax(1)
        self.importance = torch.zeros(batch, size, size, device=device)
        self.importance[:, size // 4 : 3 * size // 4, size // 3 : size] = 1
        self._plain_backward = 0.0
        self._estimate_statistics()

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All (image, positive class) pairs."""
        return [(int(image), int(label)) for image, label in self.labels.nonzero()]

    def columns(self, pairs: Sequence[tuple[int, int]], images: slice = slice(None)) -> dict[str, Any]:
        """The batch as the collator lays it out, a row a pair."""
        row, taken = [image for image, _ in pairs], [0] * len(self.images)
        slots = []
        for image in row:
            slots.append(taken[image])
            taken[image] += 1
        found = {"pixel_values": self.images[images], "labels": self.labels[images]}
        target = torch.tensor([label for _, label in pairs], device=self.device)
        return found | {
            "row": row, "slot": slots, "annotated": [True] * len(row), "target": target,
            "importance": self.importance[torch.tensor(row, device=self.device)],
        }  # fmt: skip

    @torch.no_grad()
    def _estimate_statistics(self) -> None:
        """Running statistics of these images, as a trained net has; with the first ones logits and maps would overflow."""
        norms = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        kept = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        self.model.train()(pixel_values=self.images)
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
        assert bool(self.model.eval()(pixel_values=self.images).logits.isfinite().all())

    def agree(self, layer: str, count: int = 2) -> tuple[int, ...]:
        """Assert that both ways give equal maps and losses for the pairs of the first images; the shape of their maps."""
        pairs = [pair for pair in self.pairs if pair[0] < count]
        method, energy = self.method(layer), Energy(self.method(layer))
        self._clean()
        forward = Forward(self.model, self.family, self.columns(pairs, slice(count)), energy.needs())
        maps, losses = forward.attribution(method), energy(forward)
        with self._recorded(layer, slice(count)) as found:
            logits = self.model(pixel_values=found[0]).logits
        for row, (image, label) in enumerate(pairs):
            naive = self._map(logits, found[-1], image, label, True)
            large = float(naive.detach().abs().max())
            assert large > 0, f"{self.name} {layer}: the map of image {image}, class {label} is zero"
            torch.testing.assert_close(maps[row], naive, rtol=1e-3, atol=1e-4 * large)
            torch.testing.assert_close(losses[row], self._energy(naive, image), rtol=1e-3, atol=1e-4)
        return tuple(maps.shape[1:])

    def plain(self, train: bool = False) -> dict[str, float]:
        """Forward, binary cross-entropy, backward."""
        start = self._clean(train)
        loss = F.binary_cross_entropy_with_logits(self.model(pixel_values=self.images).logits, self.labels)
        ready = self._now()
        loss.backward()
        finished = self._now()
        if not train:
            self._plain_backward = finished - ready
        return {"step": finished - start}

    def guided(self, layer: str, train: bool = False) -> dict[str, float]:
        """A step of GuidedTrainer; "attribution" is what comes between the model's forward and the last backward."""
        guidance = Guidance(energy=Term(Energy(self.method(layer)), WEIGHT, reduction="sum"))
        batch = self.columns(list(enumerate(self.target.tolist())))
        start = self._clean(train)
        forward = Forward(self.model, self.family, batch, guidance.needs())
        ready = self._now()
        loss, _ = guidance(forward, None)
        explained = self._now()
        loss.backward()
        return {"attribution": explained - ready, "step": self._now() - start}

    def guided_by_image(self, layer: str, count: int) -> dict[str, float]:
        """The same step by one autograd call an image, of which ``count`` are run and counted as all.

        The backward through the net's own graph happens once, however many images there are: what ``plain`` took for it
        is not multiplied.
        """
        share = len(self.images) / count
        start = self._clean()
        with self._recorded(layer) as found:
            logits = self.model(pixel_values=found[0]).logits
        ready = self._now()
        loss = F.binary_cross_entropy_with_logits(logits, self.labels)
        for index, label in enumerate(self.target.tolist()[:count]):
            loss = loss + WEIGHT * self._energy(self._map(logits, found[-1], index, label, True), index)
        explained = self._now()
        loss.backward()
        finished = self._now()
        attribution, backward = share * (explained - ready), finished - explained
        once = min(self._plain_backward, backward)
        return {"attribution": attribution, "step": ready - start + attribution + once + share * (backward - once)}

    def forward(self) -> dict[str, float]:
        """The batch through the model, without maps."""
        start = self._clean()
        with torch.no_grad():
            self.model(pixel_values=self.images)
        return {"step": self._now() - start}

    def evaluate(self, layer: str) -> dict[str, float]:
        """Maps of all pairs by the library: one backward a slot."""
        method, start = self.method(layer), self._clean()
        with torch.no_grad():
            Forward(self.model, self.family, self.columns(self.pairs), method.needs()).attribution(method)
        return {"step": self._now() - start}

    def evaluate_by_pair(self, layer: str, batch: int = 4) -> dict[str, float]:
        """The same maps by one autograd call a pair over batches of ``batch``, with a graph that nobody uses."""
        start = self._clean()
        for first in range(0, len(self.images), batch):
            with self._recorded(layer, slice(first, first + batch)) as found:
                logits = self.model(pixel_values=found[0]).logits
            for image, label in self.pairs:
                if first <= image < first + batch:
                    self._map(logits, found[-1], image - first, label, True).detach()
        return {"step": self._now() - start}

    def _map(self, logits: Tensor, activation: Tensor, index: int, label: int, graph: bool) -> Tensor:
        with fixed_dynamic_weights() if self.name == "bcos" else nullcontext():
            (gradient,) = torch.autograd.grad(logits[index, label], activation, create_graph=graph, retain_graph=True)
        return (activation * gradient).sum(1)[index]

    def _energy(self, attribution: Tensor, index: int) -> Tensor:
        size = (self.images.shape[-2], self.images.shape[-1])
        large = attribution
        if attribution.shape != size:
            large = F.interpolate(attribution[None, None], size, mode="bilinear")[0, 0]
        positive = large.clamp_min(0)
        total = positive.sum()
        return 1 - positive[self.importance[index] > 0].sum() / torch.where(total < 1e-7, 1, total)

    @contextmanager
    def _recorded(self, layer: str, images: slice = slice(None)) -> Iterator[list[Tensor]]:
        found = [self.images[images].clone().requires_grad_(layer == "input")]
        hook = None
        if layer != "input":
            module = self.model.get_submodule(self.family.path(layer, self.model))
            hook = module.register_forward_hook(lambda _, __, output: found.append(output))
        try:
            yield found
        finally:
            if hook is not None:
                hook.remove()

    def _clean(self, train: bool = False) -> float:
        self.model.train(train)
        self.model.zero_grad(set_to_none=True)
        return self._now()

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
