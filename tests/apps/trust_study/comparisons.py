"""Folders of comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hf_guidance.apps.trust_study import write_comparison_folder

MODELS = ("unguided", "hint")


def rows_and_maps(count: int = 6, parts: int = 2):
    """Images with a caption, and for each of two models a map of a word and one of the caption: its highest cell tells it."""
    numbers = np.random.default_rng(0)
    rows = [
        {
            "image": Image.fromarray(numbers.integers(0, 256, (96, 128, 3), np.uint8)),
            "image_id": f"row-{place}",
            "text": f"a fork beside {place} plates",
            "parts": ["fork", "the whole caption"][:parts],
        }
        for place in range(count)
    ]
    maps = {name: np.zeros((count, parts, 4, 4), np.float32) for name in MODELS}
    maps["unguided"][:, :, 0, 0] = 1  # top left
    maps["hint"][:, :, 3, 3] = 1  # bottom right
    return rows, maps


def comparison_folder(folder: Path, count: int = 6) -> Path:
    """Such a folder."""
    rows, maps = rows_and_maps(count)
    return write_comparison_folder(rows, maps, folder)
