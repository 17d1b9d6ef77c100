"""Swin of transformers: tokens in every stage; LayerNorm, mean over tokens, Linear."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.stages import plain_linear, spread

MODEL_TYPES = ("swin",)


def build(model: Any) -> Family:
    """Stages are read at their last block's first LayerNorm (see families/vit.py), "final" at the LayerNorm of the head."""
    stages = model.swin.encoder.layers
    paths = [f"swin.encoder.layers.{i}.blocks.{len(s.blocks) - 1}.layernorm_before" for i, s in enumerate(stages)]
    head = "classifier" if plain_linear(model.classifier) else None
    return Family(layers=spread([*paths[:-1], "swin.layernorm"]), channel_axis=-1, pooled_linear=head)
