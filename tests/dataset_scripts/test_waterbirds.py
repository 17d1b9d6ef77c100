"""waterbirds against the published counts, against real photographs, and both tasks."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_folders import WATERBIRDS_HEADER, make_waterbirds, waterbirds_lines, write_image
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator, annotated_indices

GROUPS = ["landbird_on_land", "landbird_on_water", "waterbird_on_land", "waterbird_on_water"]
BOX = np.zeros((30, 40), dtype=bool)
BOX[5:17, 4:14] = True
OUTLINE = BOX.copy()
OUTLINE[:, 9:] = False
NUTS = {"names": ["hazelnut", "date"], "places": ["plants", "clothes"]}


def mask_of(row) -> np.ndarray:
    return np.asarray(row["mask"])


def sizes(builder) -> dict[str, list[int]]:
    """Rows of each group by split, from metadata.csv alone."""
    counts = {
        split: Counter(2 * record["y"] + record["place"] for record in records)
        for split, records in builder._records().items()
    }
    return {split: [count[group] for group in range(4)] for split, count in counts.items()}


def test_published_counts_and_the_order_of_the_groups(shared, build, tmp_path):
    folder = Path(shared("waterbirds"))
    (tmp_path / "boxes.txt").write_text("1 60.0 27.0 325.0 304.0\n")
    options = {"data_dir": str(folder), "boxes_file": str(tmp_path / "boxes.txt")}
    builder = build("waterbirds", **options)
    assert builder.info.features["group"].names == GROUPS
    counts = {"train": [3498, 184, 56, 1057], "validation": [467, 466, 133, 133], "test": [2255, 2255, 642, 642]}
    assert sizes(builder) == counts
    agreeing = (counts["train"][0] + counts["train"][3]) / sum(counts["train"])
    assert agreeing == pytest.approx(0.95, abs=0.001)
    assert len(annotated_indices(sum(counts["train"]), 0.01, 0)) == 47  # the paper's 1 %
    first = builder._records()["test"][0]
    assert first["image_id"] == "1"
    assert first["corner_and_size"] == ["60.0", "27.0", "325.0", "304.0"]
    matched = build("waterbirds", validation="matched", **options)
    assert sizes(matched) == {**counts, "validation": [467, 0, 0, 133]}
    report = matched.report["validation row of an unmatched group, left out on request"]
    assert report["count"] == 466 + 133
    assert sizes(build("waterbirds", task="reversed", **options)) == counts


def test_complete_correlation_is_another_file_of_the_same_columns(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    lines = [
        line for line in waterbirds_lines() if line.split(",")[3] != "0" or line.split(",")[2] == line.split(",")[4]
    ]
    (root / "complete.csv").write_text("\n".join([WATERBIRDS_HEADER, *lines]) + "\n")
    options = {"data_dir": str(root), "metadata_file": "complete.csv", "validation": "matched"}
    splits, builder = prepare("waterbirds", **options)
    groups = {split: Counter(dataset["group"]) for split, dataset in splits.items()}
    assert groups == {"train": {0: 2, 3: 2}, "validation": {0: 2, 3: 2}, "test": {0: 2, 1: 2, 2: 2, 3: 2}}
    assert builder.report["validation row of an unmatched group, left out on request"]["count"] == 4


def test_conventional_rows(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    splits, builder = prepare("waterbirds", data_dir=str(root))
    assert list(splits) == ["train", "validation", "test"]
    assert builder.info.features["labels"].feature.names == ["landbird", "waterbird"]
    assert "mask" not in splits["train"].features
    row = splits["train"][2]  # y 0 on place 1
    assert (row["labels"], row["group"], row["image_id"]) == ([0], 1, "3")
    assert row["objects"] == [{"bbox": [4, 5, 14, 17], "category": 0}]
    for dataset in splits.values():
        assert [row["labels"][0] for row in dataset] == [group // 2 for group in dataset["group"]]


def test_reversed_rows_guide_to_the_outside(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    splits, builder = prepare("waterbirds", data_dir=str(root), task="reversed")
    assert builder.info.features["labels"].feature.names == ["land", "water"]
    assert builder.info.features["group"].names == GROUPS
    for dataset in splits.values():
        assert [row["labels"][0] for row in dataset] == [group % 2 for group in dataset["group"]]
        for row in dataset:
            assert row["objects"] == []
            assert np.array_equal(mask_of(row), np.where(BOX, 0, 255))


@pytest.mark.parametrize("task", ["conventional", "reversed"])
def test_masks_are_the_outline(task, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    (root / "bounding_boxes.txt").unlink()
    splits, _ = prepare("waterbirds", data_dir=str(root), source="masks", task=task)
    row = splits["train"][3]
    assert np.array_equal(mask_of(row) == 255, OUTLINE if task == "conventional" else ~OUTLINE)
    assert row["objects"] == ([{"bbox": [4, 5, 9, 17], "category": 1}] if task == "conventional" else [])


def test_half_of_the_annotators_decide(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    soft = np.where(BOX, 128, 127).astype(np.uint8)
    for file in (root / "segmentations" / "birds").iterdir():
        Image.merge("LA", [Image.fromarray(soft), Image.fromarray(soft)]).save(file)
    splits, _ = prepare("waterbirds", data_dir=str(root), source="masks")
    assert np.array_equal(mask_of(splits["train"][0]) == 255, BOX)


@pytest.mark.parametrize("source", ["boxes", "masks"])
@pytest.mark.parametrize("task", ["conventional", "reversed"])
def test_real_photographs(source, task, shared, prepare):
    root = Path(shared("nuts_on_places"))
    splits, builder = prepare("waterbirds", data_dir=str(root), source=source, task=task, **NUTS)
    assert builder.report == {}
    counts = {split: [Counter(dataset["group"])[group] for group in range(4)] for split, dataset in splits.items()}
    assert counts == {"train": [190, 10, 10, 190], "validation": [30] * 4, "test": [50] * 4}
    assert builder.info.features["group"].names[1] == "hazelnut_on_clothes"
    with (root / "metadata.csv").open(newline="") as file:
        lines = {line["img_id"]: line for line in csv.DictReader(file)}
    for row in splits["validation"].select(range(0, 120, 10)):
        line = lines[row["image_id"]]
        x0, y0, x1, y1 = (int(line[corner]) for corner in ("xmin", "ymin", "xmax", "ymax"))
        inside = np.zeros((160, 160), dtype=bool)
        inside[y0:y1, x0:x1] = True
        if source == "masks":
            inside = np.asarray(Image.open(root / line["mask_filename"])) > 127
        if task == "reversed":
            assert np.array_equal(mask_of(row), np.where(inside, 0, 255))
            assert row["labels"] == [int(line["place"])]
            continue
        assert row["labels"] == [int(line["y"])]
        assert row["objects"] == [{"bbox": [x0, y0, x1, y1], "category": int(line["y"])}]
        assert source == "boxes" or np.array_equal(mask_of(row), np.where(inside, 255, 0))


@pytest.mark.parametrize("task", ["conventional", "reversed"])
def test_rows_collate_into_the_importance_of_their_task(task, tmp_path, prepare):
    splits, _ = prepare("waterbirds", data_dir=str(make_waterbirds(tmp_path / "raw")), task=task)
    processor = ViTImageProcessor(size={"height": 30, "width": 40})
    batch = GuidanceCollator(processor, num_labels=2)(list(splits["train"]))
    inside = BOX if task == "conventional" else ~BOX
    assert all(np.array_equal(importance.numpy() > 0, inside) for importance in batch["importance"])
    assert batch["target"].tolist() == splits["train"].with_format("numpy")["labels"][:].ravel().tolist()


def test_repairs_and_oddities_are_counted(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    boxes = (root / "bounding_boxes.txt").read_text().splitlines()
    boxes[0], boxes[1] = "1 30 3 10.5 9.25", "2 0 0 40 30"
    (root / "bounding_boxes.txt").write_text("\n".join(boxes))
    splits, builder = prepare("waterbirds", data_dir=str(root), task="reversed")
    assert {reason: entry["count"] for reason, entry in builder.report.items()} == {
        "box less than a pixel outside the image, clipped": 1,
        "object covers the image, nothing is outside": 1,
    }
    outside = np.full((30, 40), 255)
    outside[3:13, 30:] = 0  # every pixel that the box touches is inside
    assert np.array_equal(mask_of(splits["train"][0]), outside)
    assert not mask_of(splits["train"][1]).any()


def test_boxes_and_masks_may_lie_elsewhere(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    (root / "CUB_200_2011").mkdir()
    (root / "bounding_boxes.txt").rename(root / "CUB_200_2011" / "bounding_boxes.txt")
    splits, _ = prepare("waterbirds", data_dir=str(root))
    assert splits["train"][0]["objects"][0]["bbox"] == [4, 5, 14, 17]
    (root / "segmentations").rename(tmp_path / "outlines")
    splits, _ = prepare("waterbirds", data_dir=str(root), source="masks", mask_dir=str(tmp_path / "outlines"))
    assert splits["train"][0]["objects"][0]["bbox"] == [4, 5, 9, 17]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("changed", ["metadata.csv", "bounding_boxes.txt", "birds", "nothing"])
def test_changed_files_are_read_again(changed, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    _, before = prepare("waterbirds", data_dir=str(root))
    if changed == "metadata.csv":
        edit(root / changed, "1,birds/0.jpg,0,", "1,birds/0.jpg,1,")
    elif changed == "bounding_boxes.txt":
        edit(root / changed, "1 4.0 5.0 10.0 12.0", "1 4.0 5.0 10.0 13.0")
    elif changed == "birds":
        write_image(root / "birds" / "0.jpg", 50, 30)
    splits, after = prepare("waterbirds", data_dir=str(root))
    assert (before.cache_dir == after.cache_dir) == (changed == "nothing")
    row = splits["train"][0]
    assert row["labels"] == [int(changed == "metadata.csv")]
    assert row["objects"][0]["bbox"][3] == (18 if changed == "bounding_boxes.txt" else 17)
    assert row["image"].size[0] == (50 if changed == "birds" else 40)
