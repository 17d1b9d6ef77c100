"""A small model with random weights of every type that transformers offers for image classification.

A rule cuts the default configuration down by the names of its fields; ``_FIELDS`` has what the rule does not reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, Gemma3TextConfig, SiglipVisionConfig

from every_model.candidate import CLASSES, Candidate, pixels_alone

SIZE = (160, 192)  # (height, width) for types whose size is not set by one number
_SIDE = 160
_PATCH = 16
_SHRINK = 4
_GRID = _SIDE // _PATCH
# Plain transformers, also as parts of models of images and text.
_TOKENS = {
    "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48, "patch_size": _PATCH,
    "projection_dim": 16, "num_patches": _GRID**2,
}  # fmt: skip
_WIDTHS = ("hidden_sizes", "embed_dim", "embed_dims", "embedding_size", "groups_width", "neck_hidden_sizes")
_DEPTHS = ("depths", "depth")
_SMALL_GEMMA = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12,
    "intermediate_size": 48, "vocab_size": 32,
}  # fmt: skip

_FIELDS: dict[str, dict[str, Any]] = {
    "bit": {"num_groups": 8},
    "cvt": {"depth": [1, 2, 3]},
    "donut-swin": {"window_size": 4},
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.5, "hidden_dim": 320},
    "hgnet_v2": {
        "stem_channels": [3, 8, 12], "stage_in_channels": [12, 32, 128, 256], "stage_mid_channels": [12, 24, 48, 96],
        "stage_out_channels": [32, 128, 256, 512],
    },
    "imagegpt": {"n_embd": 24, "n_layer": 4, "n_head": 2, "n_positions": _GRID**2, "vocab_size": 17},
    "mobilenet_v1": {"depth_multiplier": 0.25, "classifier_dropout_prob": 0.0},  # 0.999 by default
    "mobilenet_v2": {"depth_multiplier": 0.25, "classifier_dropout_prob": 0.0},
    "mobilevitv2": {"width_multiplier": 0.5},
    "perceiver": {
        "num_latents": 16, "d_latents": 32, "num_self_attends_per_block": 2, "num_cross_attention_heads": 1,
    },
    "pp_lcnet": {"scale": 0.25, "class_expand": 64},
    "swin": {"window_size": 4},
    "textnet": {"stem_out_channels": 16},
    "timm_wrapper": {
        "architecture": "resnet18", "model_args": {"channels": [8, 12, 16, 20], "layers": [1, 1, 1, 1]},
    },
}  # fmt: skip
# Sizes that a class is written for, or smaller ones where attention is over all pixels.
_SIZES = {
    "PerceiverForImageClassificationLearned": (64, 64), "PerceiverForImageClassificationFourier": (224, 224),
    "PerceiverForImageClassificationConvProcessing": (224, 224), "ShieldGemma2ForImageClassification": (64, 64),
    "LevitForImageClassification": (224, 224), "LevitForImageClassificationWithTeacher": (224, 224),
}  # fmt: skip


def candidates() -> list[Candidate]:
    """One for each class of each type, in the order of transformers; models of this library are not among them."""
    return [
        _candidate(config, model)
        for config, classes in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.items()
        for model in (classes if isinstance(classes, tuple) else (classes,))
        if config.__module__.startswith("transformers.")
    ]


def _candidate(config: type, model: type) -> Candidate:
    kind: str = config.model_type
    size = _SIZES.get(model.__name__) or _size(config)

    def make() -> nn.Module:
        return model(_SPECIAL[kind]() if kind in _SPECIAL else small_config(config, image_size=size))

    return Candidate("transformers", kind, model.__name__, size, make, _COLUMNS.get(kind, pixels_alone))


def _size(config: type) -> tuple[int, int]:
    defaults = config()
    vision = getattr(defaults, "vision_config", defaults)
    square = isinstance(getattr(vision, "image_size", None), int) or config.model_type in _COLUMNS
    return (_SIDE, _SIDE) if square else SIZE


def small_config(config: type, image_size: tuple[int, int]) -> Any:
    """The default configuration of a type with its sizes cut down, for images of a size and ``CLASSES`` classes."""
    defaults = config().to_dict()
    staged = any(name in defaults for name in (*_DEPTHS, "hidden_sizes"))
    cut = {name: _cut(name, value, staged, image_size) for name, value in defaults.items()}
    parts = {name: small_config(part, image_size).to_dict() for name, part in config.sub_configs.items()}
    explicit = _FIELDS.get(config.model_type, {})
    return config(**{n: v for n, v in cut.items() if v is not None} | parts | explicit, num_labels=CLASSES)


def _cut(name: str, value: Any, staged: bool, image_size: tuple[int, int]) -> Any:
    # None where the default stays.
    if name == "image_size":
        return list(image_size) if isinstance(value, list | tuple) else image_size[0]
    if name in _WIDTHS and value is not None:
        return [width // _SHRINK for width in value] if isinstance(value, list | tuple) else value // _SHRINK
    if name in _DEPTHS and isinstance(value, list | tuple):
        return [min(depth, 2) for depth in value]
    small = staged or not isinstance(value, int) or (name == "patch_size" and value < 8)
    return None if small else _TOKENS.get(name)


def _shieldgemma() -> Any:
    from transformers import ShieldGemma2Config

    vision = small_config(SiglipVisionConfig, (64, 64)).to_dict()
    text = Gemma3TextConfig(**_SMALL_GEMMA).to_dict()
    tokens = {"boi_token_index": 28, "eoi_token_index": 29, "image_token_index": 30}
    answers = {"yes_token_index": 4, "no_token_index": 5}
    return ShieldGemma2Config(text_config=text, vision_config=vision, mm_tokens_per_image=16, **tokens, **answers)


def _patches(images: Tensor) -> dict[str, Tensor]:
    """The columns of SigLIP 2: patches with a mask, and how many stand below and beside each other."""
    count, _, height, width = images.shape
    rows, columns = height // _PATCH, width // _PATCH
    cut = images.reshape(count, 3, rows, _PATCH, columns, _PATCH).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": cut.reshape(count, rows * columns, 3 * _PATCH**2),
        "pixel_attention_mask": torch.ones(count, rows * columns, dtype=torch.int32),
        "spatial_shapes": torch.tensor([[rows, columns]] * count),
    }


def _colours(images: Tensor) -> dict[str, Tensor]:
    """The columns of ImageGPT: each place as the number of its colour."""
    small = nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), _GRID).flatten(1)
    return {"input_ids": (small * 40).round().long().clamp(-8, 8) + 8}


def _question(images: Tensor) -> dict[str, Tensor]:
    """The columns of ShieldGemma 2: the image inside a text."""
    text = torch.tensor([[2, 28, *[30] * 16, 29, 7, 8]] * len(images))
    return {"pixel_values": images, "input_ids": text, "token_type_ids": (text == 30).long()}


_SPECIAL: dict[str, Callable[[], Any]] = {"shieldgemma2": _shieldgemma}
_COLUMNS: dict[str, Callable[[Tensor], Mapping[str, Tensor]]] = {
    "siglip2": _patches, "imagegpt": _colours, "shieldgemma2": _question,
}  # fmt: skip
