"""What the grid asks of boxes and masks before it trains, and a run that is guided by masks."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from tiny_grid import grid_options, rows_of

from hf_guidance import annotated_indices
from hf_guidance.training.grid import run_grid
from hf_guidance.training.grid.checks import check_annotation, check_segmentations

TESTS = Path(__file__).resolve().parents[2]
BOX, MASK = [{"bbox": [0.0, 0.0, 2.0, 2.0], "category": 0}], Image.fromarray(np.ones((4, 4), np.uint8))
FEATURES = datasets.Features({
    "objects": datasets.List({"bbox": datasets.List(datasets.Value("float32"), length=4), "category": datasets.Value("int64")}),
    "mask": datasets.Image(),
})  # fmt: skip


def rows(boxes, masks):
    columns = {"objects": [BOX if box else [] for box in boxes], "mask": [MASK if mask else None for mask in masks]}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def splits(**given):
    both = rows([1, 0], [0, 1])
    return {"train": rows([1, 1], [1, 1]), "validation": both, "test": both} | given


CELL = {"fraction": 1.0, "seed": 0}


def test_every_split_needs_what_says_where_to_look():
    check_annotation([CELL], "boxes", splits())
    check_annotation([CELL], "mask", splits())
    with pytest.raises(ValueError, match=r"source='box' is unknown; choose one of \['boxes', 'mask'\]"):
        check_annotation([CELL], "box", splits())
    for split in ("train", "validation", "test"):
        with pytest.raises(ValueError, match=f"no row of the {split} split has anything in column 'objects'.*'mask'"):
            check_annotation([CELL], "boxes", splits(**{split: rows([0, 0], [1, 1])}))
        bare = rows([1, 1], [1, 1]).remove_columns("mask")
        with pytest.raises(ValueError, match=f"no row of the {split} split has anything in column 'mask'.*'boxes'"):
            check_annotation([CELL], "mask", splits(**{split: bare}))


def test_a_share_must_draw_a_row_with_a_box():
    drawn = {seed: int(annotated_indices(20, 0.05, seed)[0]) for seed in range(20)}
    train = rows([index % 2 for index in range(20)], [1] * 20)
    for seed, index in drawn.items():
        cells = [CELL, {"fraction": 0.05, "seed": seed}]
        if index % 2:
            check_annotation(cells, "boxes", splits(train=train))
        else:
            with pytest.raises(ValueError, match=f"fractions: 0.05 with seed {seed} draws 1 of 20 .*larger share"):
                check_annotation(cells, "boxes", splits(train=train))
        check_annotation(cells, "mask", splits(train=train))
    assert len({index % 2 for index in drawn.values()}) == 2


def test_on_object_epg_needs_boxes_and_masks_in_one_row():
    full = rows([0, 1], [0, 1])
    check_segmentations("boxes", splits(validation=full, test=full))
    for source, given in (
        ("boxes", splits(validation=full)),
        ("boxes", splits(test=full)),
        ("mask", splits(validation=full, test=full)),
    ):
        with pytest.raises(
            ValueError, match="rows of validation and test with boxes and masks; leave segmentations out"
        ):
            check_segmentations(source, given)


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_reversed_task_is_guided_by_masks(in_memory, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS / "dataset_scripts")
    from raw_folders import make_waterbirds

    options = {
        "dataset": "waterbirds", "data_dir": str(make_waterbirds(tmp_path / "raw")), "builder_config": {"task": "reversed"},
        "source": "mask", "models": ["vanilla"], "layers": ["input"], "weights": {"energy": [0.1]}, "losses": ["energy"],
        "grids": [], "batch_size": 4, "segmentations": False, "crop": 1.0, "in_memory": in_memory,
    }  # fmt: skip
    for changed, message in (
        ({"source": "boxes"}, "no row of the train split has anything in column 'objects'"),
        ({"dilations": [0.5]}, "box_dilation=0.5 grows boxes, and source='mask' has none"),
        ({"segmentations": True}, "segmentations=True with source='mask'"),
    ):
        with pytest.raises(ValueError, match=message):
            run_grid(*grid_options(tmp_path, **options | changed))
        assert not (tmp_path / "out").exists()
    returned = run_grid(*grid_options(tmp_path, **options))
    found = rows_of(tmp_path)
    assert [row["loss"] for row in found] == [row["loss"] for row in returned] == ["baseline", "energy"]
    scores = [float(row[name]) for row in found for name in ("val_epg", "test_epg")]
    assert all(0.5 < score < 1 for score in scores), scores  # most of an image is outside of its box
    boxes = tmp_path / "raw" / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("1 4.0 5.0 10.0 12.0", "1 4.0 5.0 10.0 13.0"))
    with pytest.raises(ValueError, match=r"holds a grid with other values of \['raw_files'\]; give another output_dir"):
        run_grid(*grid_options(tmp_path, **options))
