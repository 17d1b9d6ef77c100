"""Rows with two classes, two places and a group, and a model small enough to train on them."""

from __future__ import annotations

import datasets
import numpy as np
import torch
from transformers import ResNetConfig, ResNetForImageClassification


def place_rows(count: int = 24, seed: int = 0) -> datasets.Dataset:
    """Noise with a bright stripe by class and a bright channel by place; every fourth row is of the other place."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    places = np.where(np.arange(count) % 8 < 6, labels, 1 - labels)
    pixels = draw.normal(0, 0.3, (count, 3, 16, 16)).astype(np.float32)
    pixels[np.arange(count), places] += 1.0
    pixels[labels == 1, 2, 4:8] += 1.0
    columns = {"pixel_values": list(pixels), "label": labels.tolist(), "group": (2 * labels + places).tolist()}
    return datasets.Dataset.from_dict(columns)


def small_model(seed: int = 0, **options):
    torch.manual_seed(seed)
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}
    return ResNetForImageClassification(ResNetConfig(**(sizes | options)))


def unsure_model(seed: int = 5):
    """One that gets three rows of each class right and nine wrong."""
    model = small_model(seed).train()
    pixels = torch.tensor(place_rows()["pixel_values"])
    with torch.no_grad():
        for _ in range(40):  # for BatchNorm's statistics
            model(pixels)
    return model


def weights_of(model):
    return torch.cat([value.detach().flatten().double() for value in model.state_dict().values()])
