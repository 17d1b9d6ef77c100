"""ResNet of transformers: stages end in a ReLU; global mean, then one Linear."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.stages import spread

MODEL_TYPES = ("resnet",)


def build(model: Any) -> Family:
    """Layers are the outputs of the stages; "final" is the last one."""
    stages = [f"resnet.encoder.stages.{i}" for i in range(len(model.resnet.encoder.stages))]
    return Family(layers=spread(stages), pooled_linear="classifier.1")
