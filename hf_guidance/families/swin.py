"""Swin of transformers: tokens in every stage; LayerNorm, mean over tokens, Linear."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import pair, plain_linear, plain_mean, spread

MODEL_TYPES = ("swin",)


def build(model: Any) -> Family:
    """Stages are read at their last block's first LayerNorm (see families/vit.py), "final" at the LayerNorm of the head."""
    stages = model.swin.encoder.layers
    paths = [f"swin.encoder.layers.{i}.blocks.{len(s.blocks) - 1}.layernorm_before" for i, s in enumerate(stages)]
    plain = plain_mean(model.swin.pooler) and plain_linear(model.classifier)
    paths[-1] = "swin.layernorm"
    height, width = pair(model.config.patch_size)
    layouts = {path: Layout(-1, patch=(height * 2**i, width * 2**i)) for i, path in enumerate(paths)}
    return Family(layers=spread(paths), channel_axis=-1, layouts=layouts, pooled_linear="classifier" if plain else None)
