"""ViT and DeiT of transformers."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.stages import spread

MODEL_TYPES = ("vit", "deit")


def build(model: Any) -> Family:
    """Layers are the outputs of the blocks' first LayerNorm.

    Only the class token reaches the head, so patch tokens have no gradient after the last block. Before a LayerNorm, input
    times gradient vanishes, because the LayerNorm is invariant to the scale of its input. After the LayerNorm neither happens.
    """
    base = model.config.model_type
    blocks = [f"{base}.layers.{i}.layernorm_before" for i in range(len(getattr(model, base).layers))]
    return Family(layers=spread(blocks), channel_axis=-1, prefix_tokens=2 if base == "deit" else 1)
