"""ViT and DeiT of transformers."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import pair, spread

MODEL_TYPES = ("vit", "deit")


def build(model: Any) -> Family:
    """Layers are the outputs of the blocks' first LayerNorm.

    Only the class token reaches the head, so patch tokens have no gradient after the last block. Before a LayerNorm, input
    times gradient vanishes, because the LayerNorm is invariant to the scale of its input. After the LayerNorm neither happens.
    """
    base = model.config.model_type
    blocks = [f"{base}.layers.{i}.layernorm_before" for i in range(len(getattr(model, base).layers))]
    layout = Layout(-1, 2 if base == "deit" else 1, pair(model.config.patch_size))
    return Family(
        layers=spread(blocks),
        channel_axis=-1,
        prefix_tokens=layout.prefix_tokens,
        patch=layout.patch,
        layouts=dict.fromkeys(blocks, layout),
    )
