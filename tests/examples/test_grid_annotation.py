"""What the grid asks of boxes and masks before it trains, and a run that is guided by masks."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_guidance import annotated_indices

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "run_model_guidance.py"
BOX, MASK = [{"bbox": [0.0, 0.0, 2.0, 2.0], "category": 0}], Image.fromarray(np.ones((4, 4), np.uint8))
FEATURES = datasets.Features({
    "objects": datasets.List({"bbox": datasets.List(datasets.Value("float32"), length=4), "category": datasets.Value("int64")}),
    "mask": datasets.Image(),
})  # fmt: skip


def rows(boxes, masks):
    columns = {"objects": [BOX if box else [] for box in boxes], "mask": [MASK if mask else None for mask in masks]}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def classifiers(source="boxes", segmentations=False, **splits):
    both = rows([1, 0], [0, 1])
    return SimpleNamespace(
        data=SimpleNamespace(source=source, segmentations=segmentations),
        splits={"train": rows([1, 1], [1, 1]), "validation": both, "test": both} | splits,
    )


@pytest.fixture
def grid(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import guidance_grid

    return guidance_grid


CELL = {"fraction": 1.0, "seed": 0}


def test_every_split_needs_what_says_where_to_look(grid):
    grid._check_annotation([CELL], classifiers())
    grid._check_annotation([CELL], classifiers("mask"))
    with pytest.raises(ValueError, match=r"source='box' is unknown; choose among \['boxes', 'mask'\]"):
        grid._check_annotation([CELL], classifiers("box"))
    for split in ("train", "validation", "test"):
        with pytest.raises(ValueError, match=f"no row of the {split} split has anything in column 'objects'.*'mask'"):
            grid._check_annotation([CELL], classifiers(**{split: rows([0, 0], [1, 1])}))
        bare = rows([1, 1], [1, 1]).remove_columns("mask")
        with pytest.raises(ValueError, match=f"no row of the {split} split has anything in column 'mask'.*'boxes'"):
            grid._check_annotation([CELL], classifiers("mask", **{split: bare}))


def test_a_share_must_draw_a_row_with_a_box(grid):
    drawn = {seed: int(annotated_indices(20, 0.05, seed)[0]) for seed in range(20)}
    train = rows([index % 2 for index in range(20)], [1] * 20)
    for seed, index in drawn.items():
        cells = [CELL, {"fraction": 0.05, "seed": seed}]
        if index % 2:
            grid._check_annotation(cells, classifiers(train=train))
        else:
            with pytest.raises(ValueError, match=f"fractions: 0.05 with seed {seed} draws 1 of 20 .*larger share"):
                grid._check_annotation(cells, classifiers(train=train))
        grid._check_annotation(cells, classifiers("mask", train=train))
    assert len({index % 2 for index in drawn.values()}) == 2


def test_on_object_epg_needs_boxes_and_masks_in_one_row(grid):
    full = rows([0, 1], [0, 1])
    grid._check_segmentations(classifiers(validation=full, test=full))
    for given in (
        classifiers(validation=full),
        classifiers(test=full),
        classifiers("mask", validation=full, test=full),
    ):
        with pytest.raises(
            ValueError, match="rows of validation and test with boxes and masks; leave segmentations out"
        ):
            grid._check_segmentations(given)


def test_an_unguided_run_is_one_cell_whatever_the_boxes(grid):
    options = grid.GridArguments(
        models=["bcos"], layers=["input"], losses=["unguided", "l1"], weights=json.dumps({"l1": [0.1]}),
        fractions=[0.1, 1.0], dilations=[0.0, 0.5], moved=[0, 1],
    )  # fmt: skip
    cells = grid.cells_of(options)
    losses = [cell["loss"] for cell in cells]
    assert {loss: losses.count(loss) for loss in losses} == {"baseline": 1, "unguided": 1, "l1": 8}
    plain = [(cell["fraction"], cell["dilation"], cell["moved"]) for cell in cells if cell["loss"] != "l1"]
    assert plain == [(1.0, 0.0, 0)] * 2


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_reversed_task_is_guided_by_masks(in_memory, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "dataset_scripts")
    from raw_folders import make_waterbirds

    options = {
        "dataset": "waterbirds", "data_dir": str(make_waterbirds(tmp_path / "raw")), "builder_config": {"task": "reversed"},
        "source": "mask", "models": ["vanilla"], "layers": ["input"], "losses": ["energy"], "weights": {"energy": [0.1]},
        "image_size": 32, "batch_size": 4, "baseline_epochs": 1, "epochs": 1, "max_drop": 1.0, "in_memory": in_memory,
        "model_config": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        "output_dir": str(tmp_path / "out"),
    }  # fmt: skip

    def run(**changed):
        (tmp_path / "grid.yaml").write_text(json.dumps(options | changed))  # JSON is YAML
        command = [sys.executable, str(SCRIPT), str(tmp_path / "grid.yaml")]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    for changed, message in (
        ({"source": "boxes"}, "no row of the train split has anything in column 'objects'"),
        ({"dilations": [0.5]}, "box_dilation=0.5 grows boxes, and source='mask' has none"),
        ({"segmentations": True}, "segmentations=True with source='mask'"),
    ):
        refused = run(**changed)
        assert refused.returncode != 0
        assert message in refused.stderr
        assert not (tmp_path / "out").exists()
    done = run()
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "out" / "grid.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [row["loss"] for row in found] == ["baseline", "energy"]
    scores = [float(row[name]) for row in found for name in ("val_epg", "test_epg")]
    assert all(0.5 < score < 1 for score in scores), scores  # most of an image is outside of its box
    boxes = tmp_path / "raw" / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("1 4.0 5.0 10.0 12.0", "1 4.0 5.0 10.0 13.0"))
    changed = run()
    assert changed.returncode != 0
    assert "holds a grid with other values of ['raw_files']; give another output_dir" in changed.stderr
