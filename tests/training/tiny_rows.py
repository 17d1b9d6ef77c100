"""A few small photographs with a label and a box each, as a data set."""

from __future__ import annotations

import datasets
import numpy as np
from PIL import Image


def photo_rows(count):
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features(
        image=datasets.Image(), image_id=datasets.Value("string"), labels=datasets.List(label),
        objects=datasets.List({"bbox": datasets.List(datasets.Value("float32"), 4), "category": label}),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    rows = {
        "image": [Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(count)],
        "image_id": [f"i{number}" for number in range(count)],
        "labels": [[number % 2] for number in range(count)],
        "objects": [[{"bbox": [4.0, 4.0, 20.0, 20.0], "category": number % 2}] for number in range(count)],
    }
    return datasets.Dataset.from_dict(rows, features=features)
