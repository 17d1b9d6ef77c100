"""Tiny captioners of transformers in float64, from scratch: ViT with GPT-2, and BLIP."""

from __future__ import annotations

import torch
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

IMAGES, SIZE, PATCH, TIMES, WORDS = 2, 16, 4, 5, 20
VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": SIZE,
          "patch_size": PATCH}  # fmt: skip
TEXT = {"vocab_size": WORDS, "hidden_size": 16, "encoder_hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": 1, "sep_token_id": 2,
        "pad_token_id": 0}  # fmt: skip


def encoder_decoder(attention="eager"):
    torch.manual_seed(0)
    words = GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2,
                       add_cross_attention=True)  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), words)
    model = VisionEncoderDecoderModel(config=config)
    model.set_attn_implementation(attention)
    return model.double().eval()


def blip(attention="eager", kind=BlipForConditionalGeneration):
    torch.manual_seed(0)
    model = kind(BlipConfig(text_config=TEXT, vision_config=VISION, projection_dim=16))
    model.set_attn_implementation(attention)
    return model.double().eval()


MADE = {"vit and gpt2": encoder_decoder, "blip": blip}
KEYS = {"vit and gpt2": "decoder_input_ids", "blip": "input_ids"}


def batch_of(name, **more):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, WORDS, (IMAGES, TIMES), generator=generator)
    row, slot, time = [0, 0, 1, 1, 1], [0, 1, 0, 1, 2], [0, 2, 0, 1, 3]
    labels = torch.cat([ids[:, 1:], torch.full((IMAGES, 1), 2)], 1)
    tokens = torch.stack([labels[row, time], torch.full((len(row),), -1)], 1)
    tokens[1, 1] = labels[0, 3]
    made = {
        "pixel_values": torch.rand(IMAGES, 3, SIZE, SIZE, generator=generator, dtype=torch.float64),
        KEYS[name]: ids, "labels": labels, "row": row, "slot": slot, "time": time, "target": tokens[:, 0],
        "word_tokens": tokens, "annotated": [True] * len(row),
        "importance": torch.rand(len(row), SIZE, SIZE, generator=generator, dtype=torch.float64).round(),
    }  # fmt: skip
    return made | more
