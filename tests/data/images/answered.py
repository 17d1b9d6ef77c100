"""Rows and maps for the tests of answers: no model is called."""

from __future__ import annotations

import datasets
import numpy as np
from PIL import Image

from hf_guidance.data import SavedMaps
from hf_guidance.data.images.map_files import FINISHED, FORMAT, shard_name, write_facts, write_shard
from hf_guidance.data.images.row_fingerprint import joined_fingerprint, row_fingerprints

SHARD = 4
WORDS = ["yes", "no", "maybe", None, "yes", "no", "yes", "yes", "no", "maybe"]
ROWS = len(WORDS)


def photo(number, width=24, height=20):
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8))


def train_rows(count=ROWS, **columns):
    """Rows of a datasets.Dataset, with one label and one box each."""
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features(
        image=datasets.Image(), image_id=datasets.Value("string"), labels=datasets.List(label),
        objects=datasets.List({"bbox": datasets.List(datasets.Value("float32"), 4), "category": label}),
    )  # fmt: skip
    rows = {
        "image": [photo(number) for number in range(count)],
        "image_id": [f"i{number}" for number in range(count)],
        "labels": [[number % 2] for number in range(count)],
        "objects": [[{"bbox": [2.0, 2.0, 12.0, 12.0], "category": number % 2}] for number in range(count)],
    }
    return datasets.Dataset.from_dict(rows | columns, features=features)


def numbers(count=ROWS, shape=(2, 3)):
    """The maps that ``saved`` writes."""
    return np.arange(count * shape[0] * shape[1], dtype=np.float32).reshape(count, *shape)


def saved(folder, rows, weights="w"):
    """Maps of rows as extract_maps writes them."""
    fingerprints, maps = row_fingerprints(rows), numbers(len(rows))
    starts = range(0, len(rows), SHARD)
    names = [shard_name(number, len(starts)) for number in range(len(starts))]
    for name, start in zip(names, starts, strict=True):
        write_shard(folder / name, maps[start : start + SHARD], fingerprints[start : start + SHARD])
    made_of = {
        "model": {"class": "Net", "weights": weights},
        "rows": {"count": len(rows), "fingerprint": joined_fingerprint(fingerprints)},
    }
    counts = [len(maps[start : start + SHARD]) for start in starts]
    facts = {
        "format": FORMAT,
        "made_of": made_of,
        "shard_rows": SHARD,
        "shape": [2, 3],
        "shards": names,
        "rows": counts,
    }
    write_facts(folder / FINISHED, facts)
    return SavedMaps.from_folder(folder)
