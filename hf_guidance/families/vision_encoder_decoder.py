"""VisionEncoderDecoderModel of transformers: an image encoder, and a language model that says a caption."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import pair, spread

MODEL_TYPES = ("vision-encoder-decoder",)
_PREFIX_TOKENS = {"vit": 1, "deit": 2}


def build(model: Any) -> Family:
    """Layers are the outputs of the blocks' first LayerNorm of a ViT or DeiT encoder, and "final" is its last LayerNorm.

    The words attend to all tokens of the encoder, so patches have a gradient after the last block, unlike in a classifier.
    With another encoder "input" is explained alone. Words are those of the batch column ``decoder_input_ids``.
    """
    encoder = model.encoder
    blocks: list[str] = []
    layout = Layout(-1, 0, None)
    if encoder.config.model_type in _PREFIX_TOKENS:
        blocks = [f"encoder.layers.{i}.layernorm_before" for i in range(len(encoder.layers))] + ["encoder.layernorm"]
        layout = Layout(-1, _PREFIX_TOKENS[encoder.config.model_type], pair(encoder.config.patch_size))
    return Family(
        layers=spread(blocks) if blocks else {},
        inputs=("pixel_values", "decoder_input_ids", "decoder_attention_mask"),
        channel_axis=-1,
        prefix_tokens=layout.prefix_tokens,
        patch=layout.patch,
        layouts=dict.fromkeys(blocks, layout),
        arguments={"use_cache": False},
        times=True,
    )
