"""ResNet of transformers: stages end in a ReLU; global mean, then one Linear."""

from __future__ import annotations

from typing import Any

from torch import nn

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import hooked, plain_linear, plain_mean, spread

MODEL_TYPES = ("resnet",)


def build(model: Any) -> Family:
    """Layers are the outputs of the stages; "final" is the last one. Only (mean, Flatten, Linear) has a closed form."""
    stages = [f"resnet.encoder.stages.{i}" for i in range(len(model.resnet.encoder.stages))]
    head = model.classifier
    plain = type(head) is nn.Sequential and len(head) == 2 and type(head[0]) is nn.Flatten and plain_linear(head[1])
    plain = plain and plain_mean(model.resnet.pooler) and not (hooked(head) or hooked(head[0]))
    return Family(
        layers=spread(stages), layouts=dict.fromkeys(stages, Layout()), pooled_linear="classifier.1" if plain else None
    )
