"""Rows of one photo with boxes and a mask, for transforms of rows."""

from __future__ import annotations

import datasets
import numpy as np
from PIL import Image


def rows_of(**columns):
    """Two rows of 20 x 40 pixels (height, width): white in the box of class 1, black elsewhere."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[6:14, 4:12] = 255
    mask = np.where(pixels[..., 0] > 0, 2, 0).astype(np.uint8)
    objects = [{"bbox": [4.0, 6.0, 12.0, 14.0], "category": 1}, {"bbox": [30.0, 0.0, 40.0, 8.0], "category": 0}]
    row = {"image": Image.fromarray(pixels), "mask": Image.fromarray(mask), "objects": objects, "labels": [0, 1]}
    box = {"bbox": datasets.List(datasets.Value("float32"), length=4), "category": datasets.Value("int64")}
    features = datasets.Features(
        image=datasets.Image(),
        mask=datasets.Image(),
        objects=datasets.List(box),
        labels=datasets.List(datasets.Value("int64")),
    )
    return datasets.Dataset.from_list([row, row], features=features)
