"""The rows that the checkpoints in this folder were trained and measured on."""

from __future__ import annotations

import numpy as np
from PIL import Image


def image_rows():
    """Sixteen noise images of two classes with a box each."""
    generator = np.random.default_rng(0)
    return [
        {
            "image": Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)),
            "label": index % 2,
            "objects": [{"bbox": [4, 4, 20, 24], "category": index % 2}],
        }
        for index in range(16)
    ]


def question_rows():
    """Sixteen questions of three answers, five boxes each, the first of which matters."""
    generator = np.random.default_rng(0)
    corners = generator.random((16, 5, 2)).astype(np.float32) / 2
    return [
        {
            "question_id": str(index),
            "image_id": str(index),
            "question": f"what is thing {index % 3}",
            "answers": [("red", "blue", "green")[index % 3]],
            "boxes": np.concatenate([at, at + 0.4], 1),
            "features": generator.standard_normal((5, 6), dtype=np.float32),
            "importance": np.array([1.0, 0.9, 0.2, 0.1, 0.0], np.float32),
        }
        for index, at in enumerate(corners)
    ]
