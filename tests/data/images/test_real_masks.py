"""Hand-drawn masks of real photographs through the collator."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator

PROCESSOR = ViTImageProcessor(size={"height": 64, "width": 64})


def test_cells_keep_their_share_of_the_image(shared):
    folder = shared / "data" / "wbc_masks"
    with (folder / "labels.csv").open() as file:
        records = list(csv.DictReader(file))[:40]
    rows = []
    for record in records:
        mask = np.asarray(Image.open(folder / "masks" / record["file_name"].replace(".jpg", ".png")))
        assert set(np.unique(mask)) <= {0, 128, 255}
        whole_cell = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
        image = Image.open(folder / "images" / record["file_name"])
        rows.append(
            {"image": image, "image_id": record["file_name"], "labels": [int(record["label"])], "mask": whole_cell}
        )
    batch = GuidanceCollator(PROCESSOR, num_labels=5)(rows)
    shares = batch["importance"].mean((1, 2)).numpy()
    assert all(batch["annotated"])
    assert np.abs(shares - [float(record["foreground_fraction"]) for record in records]).max() < 0.02


def test_a_raw_three_level_mask_is_refused(shared):
    folder = shared / "data" / "wbc_masks"
    name = sorted(file.stem for file in (folder / "masks").glob("*.png"))[0]
    row = {
        "image": Image.open(folder / "images" / f"{name}.jpg"),
        "image_id": name,
        "labels": [0],
        "mask": Image.open(folder / "masks" / f"{name}.png"),
    }
    with pytest.raises(ValueError, match="128"):
        GuidanceCollator(PROCESSOR, num_labels=5)([row])


def test_pasted_nuts_lie_in_their_boxes(shared):
    folder = shared / "data" / "nuts_on_places"
    with (folder / "metadata.csv").open() as file:
        records = list(csv.DictReader(file))[::24]
    for record in records:
        label = int(record["y"])
        box = [float(record[edge]) for edge in ("xmin", "ymin", "xmax", "ymax")]
        row = {
            "image": Image.open(folder / record["img_filename"]) if (folder / record["img_filename"]).exists()
            else Image.open(folder / "images" / record["img_filename"]),
            "image_id": record["img_id"],
            "labels": [label],
        }  # fmt: skip
        mask_file = folder / record["mask_filename"]
        mask = Image.open(mask_file if mask_file.exists() else folder / "masks" / record["mask_filename"])
        by_mask = GuidanceCollator(PROCESSOR, num_labels=2)([row | {"mask": mask}])["importance"]
        objects = [{"bbox": box, "category": label}]
        by_box = GuidanceCollator(PROCESSOR, num_labels=2)([row | {"objects": objects}])["importance"]
        assert by_mask.sum() > 0
        # The processor's interpolation may move an edge by half a pixel.
        assert (by_mask * (1 - by_box)).sum() <= 0.05 * by_mask.sum()
