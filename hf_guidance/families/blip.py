"""BLIP of transformers for captions (BlipForConditionalGeneration)."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import pair, spread

MODEL_TYPES = ("blip",)


def build(model: Any) -> Family:
    """Layers are the outputs of the vision blocks' first LayerNorm; "final" is that of the last block.

    The words attend to all tokens of the last block. The LayerNorm behind it is no layer: BLIP calls it twice.

    Raises:
        ValueError: Another model than the captioner: the one for questions encodes them beside the image, and has no logits of
            answers.
    """
    if not hasattr(model, "text_decoder") or hasattr(model, "text_encoder"):
        raise ValueError(
            f"{type(model).__name__} says no caption; of BLIP, BlipForConditionalGeneration is supported: load that class."
        )
    vision = model.vision_model
    blocks = [f"vision_model.encoder.layers.{i}.layer_norm1" for i in range(len(vision.encoder.layers))]
    layout = Layout(-1, 1, pair(model.config.vision_config.patch_size))
    return Family(
        layers=spread(blocks),
        inputs=("pixel_values", "input_ids", "attention_mask"),
        channel_axis=-1,
        prefix_tokens=layout.prefix_tokens,
        patch=layout.patch,
        layouts=dict.fromkeys(blocks, layout),
        times=True,
    )
