"""Rows, processor and maps by hand for the tests of extract_maps."""

from __future__ import annotations

import datasets
import numpy as np
import torch
from PIL import Image
from tiny import SIZE
from transformers import ViTImageProcessor

from hf_guidance.families import family_of
from hf_guidance.forward import Forward

PROCESSOR = ViTImageProcessor(size={"height": SIZE[0], "width": SIZE[1]})
ROWS = 7


def rows_of(count=ROWS, **columns):
    label = datasets.ClassLabel(num_classes=3)
    features = datasets.Features(
        image=datasets.Image(), image_id=datasets.Value("string"), labels=datasets.List(label), mask=datasets.Image(),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(count)]
    given = {"image": pictures, "image_id": [str(i) for i in range(count)], "labels": [[i % 3] for i in range(count)]}
    return datasets.Dataset.from_dict(given | {"mask": pictures} | columns, features=features)


def pixels_of(rows):
    return PROCESSOR(images=list(rows["image"]), return_tensors="pt")["pixel_values"]


def maps_by_hand(model, rows, method, **columns):
    """The maps of one forward of all rows."""
    batch = {"pixel_values": pixels_of(rows).to(next(model.parameters()).dtype)} | columns
    with torch.no_grad():
        return Forward(model, family_of(model), batch, method.needs()).attribution(method).float().numpy()


def labels_of(rows):
    return torch.tensor([labels[0] for labels in rows["labels"]])
