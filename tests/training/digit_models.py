"""The models of the tests of training, a ResNet of two stages, a ConvNeXt or a ViT."""

from __future__ import annotations

import torch
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)


def build(kind: str = "resnet", **fields):
    torch.manual_seed(0)
    labels = {"num_labels": 2} | fields
    if kind == "resnet":
        return ResNetForImageClassification(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **labels)
        )
    if kind == "convnext":
        return ConvNextForImageClassification(
            ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, **labels)
        )
    return ViTForImageClassification(
        ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32,
                  patch_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **labels)
    )  # fmt: skip
