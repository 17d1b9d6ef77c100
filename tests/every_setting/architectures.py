"""The architectures: tiny models with one batch each, and a guidance that differentiates maps at the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tiny import BUILDERS, SIZE, make_batch
from torch import nn
from toy_vqa import REGION_BUILDERS, region_batch

from hf_guidance.attributions import BcosContribution, InputXGradient, SoftLabelLogits
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import Alignment, AnswerLoss, Energy

IMAGES = 4


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Args:
        name: As in the table.
        builder: Key of tiny.BUILDERS or toy_vqa.REGION_BUILDERS.
        guidance: What is trained with.
        adapted: Names of the modules that LoRA changes.
        attends: Whether it has fused attention.
        blocks: Classes that FSDP2 shards each by itself, where the model does not say.
    """

    name: str
    builder: str
    guidance: Guidance
    adapted: tuple[str, ...]
    attends: bool = False
    blocks: tuple[str, ...] = ()

    def build(self) -> Any:
        """The model in float64, with fused attention where it has any, and without dropout."""
        torch.manual_seed(0)
        model = (BUILDERS | REGION_BUILDERS)[self.builder]().double()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "drop_prob"):  # of whole paths
                module.drop_prob = 0.0
        if hasattr(model.config, "attention_dropout"):
            model.config.attention_dropout = 0.0
        return model

    def columns(self) -> Mapping[str, Any]:
        """A batch of IMAGES rows, all annotated."""
        if self.builder in REGION_BUILDERS:
            batch = region_batch(IMAGES)
            return {name: value for name, value in batch.items() if name not in ("question", "grid_feats", "quadrant")}
        batch = make_batch(IMAGES, SIZE)
        return {name: value for name, value in batch.items() if name != "quadrant"}


def _of_images(attribution: Any) -> Guidance:
    return Guidance(energy=Term(Energy(attribution), weight=10.0))


_IMAGES = _of_images(InputXGradient("input"))
_BOXES = Guidance(task=AnswerLoss(), alignment=Term(Alignment(InputXGradient(target=SoftLabelLogits())), weight=10.0))
ARCHITECTURES = [
    Architecture("ResNet", "resnet", _IMAGES, ("convolution",)),
    Architecture("ConvNeXt", "convnext", _IMAGES, ("pwconv1", "pwconv2")),
    Architecture("ViT", "vit", _IMAGES, ("q_proj", "v_proj"), attends=True),
    Architecture("Swin", "swin", _IMAGES, ("q_proj", "v_proj"), attends=True),
    Architecture("ResNet of timm", "timm_resnet", _IMAGES, ("conv1", "conv2"), blocks=("BasicBlock",)),
    Architecture("ConvNeXt of timm", "timm_convnext", _IMAGES, ("fc1", "fc2"), blocks=("ConvNeXtBlock",)),
    Architecture("ViT of timm", "timm_vit", _IMAGES, ("qkv",), attends=True, blocks=("Block",)),
    Architecture("B-cos ResNet", "bcos_resnet", _of_images(BcosContribution("input")), ("convolution",)),
    Architecture("X-DNN ResNet", "xdnn_resnet", _IMAGES, ("classifier",)),
    Architecture("UpDn", "updn", _BOXES, ("classifier",)),
    Architecture("Pythia", "pythia", _BOXES, ("hidden", "score")),
    Architecture("LXMERT", "lxmert", _BOXES, ("query", "value")),
]
