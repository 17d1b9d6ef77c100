"""B-cos ResNet of ``hf_guidance.models``: stages of dynamic linear layers, one map per class, mean over the places."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import spread

MODEL_TYPES = ("bcos_resnet",)


def build(model: Any) -> Family:
    """Layers are the outputs of the stages; the class map is the head's, before the mean and the bias.

    ``biases`` stays None: because of the 1e-6 in the lengths of patches, the operations are not exactly positively homogeneous.
    """
    stages = [f"stages.{i}" for i in range(len(model.stages))]
    layouts = dict.fromkeys([*stages, "classifier"], Layout())
    return Family(layers=spread(stages), layouts=layouts, class_map="classifier")
