"""nuts_on_places: learned without bias first, then fine-tuned on the biased set; and the same from scratch, which fails.

A softmax over two classes fixes the difference of the logits only, so maps of one logit may be negative everywhere while the
answer is right. The arms explain the difference; "own logit" shows what happens otherwise.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from studies.common import (
    CONTRAST_MAPS,
    SINGLE,
    Results,
    Stage,
    Task,
    measure,
    moved,
    start_weights,
    to_pixels,
    train,
    with_annotated,
)

from hf_guidance import annotated_indices

SIZE = 96
COPIES = 2
PLAIN = Stage(epochs=50, learning_rate=2e-3)
GUIDED = Stage(epochs=50, learning_rate=2e-3, weight=1.0, contrast=True)
ARMS = {
    "unguided": PLAIN,
    "guided": GUIDED,
    "moved masks": moved(GUIDED),
    "guided 10 %": GUIDED,
    "moved 10 %": moved(GUIDED),
    "guided, own logit": replace(GUIDED, contrast=False),
}
START = Stage(epochs=12, learning_rate=2e-3)
SCRATCH = {
    "scratch unguided": Stage(epochs=25, learning_rate=2e-3),
    "scratch guided": Stage(epochs=25, learning_rate=2e-3, weight=0.3),
    "scratch contrast": Stage(epochs=25, learning_rate=2e-3, weight=0.3, contrast=True),
}
COLUMNS = (
    "worst_group", "accuracy", "group 0", "group 1", "group 2", "group 3", "epg", "attribution_iou", "undefined_share",
    "logged_undefined",
)  # fmt: skip


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The three splits with images and masks as arrays; a group is 2 * label + place."""
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    with (folder / "metadata.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            label, place = int(line["y"]), int(line["place"])
            row = {
                "image_id": line["img_id"], "labels": label, "place": place, "group": 2 * label + place,
                "pixels": np.asarray(Image.open(folder / line["img_filename"]).convert("RGB")),
                "cut": np.asarray(Image.open(folder / line["mask_filename"]).convert("L")) > 127,
            }  # fmt: skip
            splits[list(splits)[int(line["split"])]].append(row)
    return splits


def box_of(cut: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(cut.any(1)), np.flatnonzero(cut.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def background(row: Mapping[str, Any]) -> np.ndarray:
    """The photo without its object: the object's box is filled from the photo moved by half its size."""
    height, width = row["cut"].shape
    rows, columns = box_of(row["cut"])
    rows, columns = slice(max(0, rows.start - 2), rows.stop + 2), slice(max(0, columns.start - 2), columns.stop + 2)
    filled = row["pixels"].copy()
    filled[rows, columns] = np.roll(row["pixels"], (height // 2, width // 2), (0, 1))[rows, columns]
    return filled


def unbiased_copies(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Every foreground on COPIES backgrounds of each place, at random positions; backgrounds of the same split only."""
    generator = np.random.default_rng(seed)
    copies = []
    for row in rows:
        for number in range(2 * COPIES):
            place = number % 2
            others = [other for other in rows if other["place"] == place and other is not row]
            pixels = background(others[generator.integers(len(others))])
            cut, found = np.zeros(row["cut"].shape, bool), box_of(row["cut"])
            block = row["cut"][found]
            top, left = (
                generator.integers(0, full - part + 1) for full, part in zip(cut.shape, block.shape, strict=True)
            )
            cut[top : top + block.shape[0], left : left + block.shape[1]] = block
            pixels[cut] = row["pixels"][found][block]
            copy = {"image_id": f"{row['image_id']}-{number}", "place": place, "group": 2 * row["labels"] + place}
            copies.append({**row, **copy, "pixels": pixels, "cut": cut})
    return copies


def prepared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for the collator: pixels and mask at the size of training."""
    pixels = to_pixels([Image.fromarray(row["pixels"]) for row in rows], SIZE)
    masks = [
        np.asarray(Image.fromarray(np.uint8(255 * row["cut"])).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) >= 128
        for row in rows
    ]
    kept = ("image_id", "labels", "group")
    return [
        {**{name: row[name] for name in kept}, "pixel_values": image, "importance": mask.astype(np.float32)}
        for row, image, mask in zip(rows, pixels, masks, strict=True)
    ]


def tasks(data: Path, seed: int, on: str = "test") -> tuple[Task, Task]:
    """The unbiased copies and the biased set, both measured on the same photos."""
    splits = read(data / "nuts_on_places")
    test, names = prepared(splits[on]), ("hazelnut", "date")
    unbiased = prepared(unbiased_copies(splits["train"], seed))
    kinds = (("nuts-unbiased", unbiased), ("nuts", prepared(splits["train"])))
    copies, biased = (Task(name, rows, test, names, SINGLE, "importance", CONTRAST_MAPS) for name, rows in kinds)
    return copies, biased


def run(data: Path, output: Path, seeds: int, on: str = "test") -> None:
    name = "nuts" if on == "test" else f"nuts-{on}"
    results = Results(name, output, {"start": START, **ARMS, **SCRATCH}, measured_on=on)
    for seed in range(seeds):
        copies, biased = tasks(data, seed, on)
        start = start_weights(copies, START, seed, output)
        results.add("start", seed, measure(train(biased, Stage(0, 1e-3), seed, start), biased))
        tenth = annotated_indices(len(biased.train), 0.1, seed)
        some = replace(biased, train=with_annotated(biased.train, tenth))
        for arm, stage in ARMS.items():
            task = some if arm.endswith("10 %") else biased
            results.add(arm, seed, measure(train(task, stage, seed, start), task))
        for arm, stage in SCRATCH.items():
            results.add(arm, seed, measure(train(biased, stage, seed), biased))
    worst = "worst_group"
    results.check("all masks: worst group at least +12 over unguided", (worst, "guided", "unguided"), low=12)
    results.check("all masks: worst group at least +12 over moved masks", (worst, "guided", "moved masks"), low=12)
    results.check("10 % of the masks: worst group at least +8 over unguided", (worst, "guided 10 %", "unguided"), low=8)
    results.check("10 % of the masks: at least +8 over moved masks", (worst, "guided 10 %", "moved 10 %"), low=8)
    for arm in ("scratch guided", "scratch contrast"):
        results.report(f"{arm} over unguided", (worst, arm, "scratch unguided"))
    results.show(COLUMNS)
