"""coco_objects against real instances and pycocotools itself, and every kind of bad input."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from pycocotools.coco import COCO
from raw_folders import coco_annotation, make_coco, write_image

from hf_guidance.data.builders import _builder_class as build_class
from hf_guidance.data.images.rows import class_mask


def pixels(row) -> np.ndarray:
    return np.asarray(row["mask"])


def full(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((30, 40), dtype=bool)
    mask[rows, columns] = True
    return mask


def test_real_counts_and_boxes(shared, prepare):
    root = shared("nuts_coco")
    splits, builder = prepare("coco_objects", data_dir=root)
    names = builder.info.features["labels"].feature.names
    assert names == ["date", "fig", "hazelnut"]
    assert {name: len(split) for name, split in splits.items()} == {"train": 18}
    rows = {row["image_id"]: row for row in splits["train"]}
    counts = Counter(names[entry["category"]] for row in rows.values() for entry in row["objects"])
    assert counts == {"date": 71, "hazelnut": 53, "fig": 41}
    seen = Counter()
    for annotation in json.loads((Path(root) / "instances.json").read_text())["annotations"]:
        entry = rows[str(annotation["image_id"])]["objects"][seen[annotation["image_id"]]]
        seen[annotation["image_id"]] += 1
        x, y, width, height = annotation["bbox"]
        assert entry["bbox"] == pytest.approx([x, y, x + width, y + height], abs=1e-4)
        assert entry["category"] == annotation["category_id"] - 1


def test_real_masks_are_pycocotools_masks(shared, prepare, capsys):
    root = shared("nuts_coco")
    splits, _ = prepare("coco_objects", data_dir=root)
    reference = COCO(os.path.join(root, "instances.json"))
    for row in splits["train"]:
        single, layers = np.zeros(pixels(row).shape, int), {}
        for annotation in reference.loadAnns(reference.getAnnIds(int(row["image_id"]))):
            mask = reference.annToMask(annotation).astype(bool)
            layers.setdefault(annotation["category_id"] - 1, np.zeros_like(mask))
            layers[annotation["category_id"] - 1] |= mask
            single += mask
        assert np.array_equal(pixels(row) > 0, single > 0)
        overlap = sum(layer.astype(int) for layer in layers.values()) > 1
        for category, layer in layers.items():
            assert np.array_equal(class_mask(row["mask"], category) & ~overlap, layer & ~overlap)


def test_gaps_between_category_ids_are_closed(tmp_path, prepare):
    splits, builder = prepare("coco_objects", data_dir=str(make_coco(tmp_path)))
    assert builder.info.features["labels"].feature.names == ["cat", "dog"]
    objects = [row["objects"] for row in splits["train"]]
    assert [[entry["category"] for entry in entries] for entries in objects] == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert objects[0][0]["bbox"] == [2, 3, 12, 15]


def test_polygons_rle_and_boxes(tmp_path, prepare):
    polygons = [[5, 5, 15, 5, 15, 20], [20, 2, 30, 2, 30, 9, 20, 9]]
    mask = np.zeros((30, 40), dtype=np.uint8, order="F")
    mask[4:11, 3:33] = 1
    mask[20:22, 10] = 1
    compressed = coco.encode(mask)
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    segmentations = [
        polygons,
        {"size": [30, 40], "counts": compressed["counts"].decode()},
        {"size": [30, 40], "counts": counts},
        [],
    ]
    annotations = [
        coco_annotation(index, index, bbox=(2, 3, 10.5, 12.2), segmentation=segmentation, iscrowd=int(index in (1, 2)))
        for index, segmentation in enumerate(segmentations)
    ]
    splits, builder = prepare("coco_objects", data_dir=str(make_coco(tmp_path, annotations)))
    first, second, third, fourth = (pixels(row) == 1 for row in splits["train"])
    assert np.array_equal(first, coco.decode(coco.merge(coco.frPyObjects(polygons, 30, 40))) > 0)
    assert np.array_equal(second, mask > 0)
    assert np.array_equal(third, mask > 0)
    assert np.array_equal(fourth, full(slice(3, 16), slice(2, 13)))
    assert builder.report == {}
    splits, builder = prepare("coco_objects", data_dir=str(tmp_path), crowd="drop")
    assert [len(row["objects"]) for row in splits["train"]] == [1, 0, 0, 1]
    assert builder.report["crowd object, dropped on request"]["count"] == 2


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_decompressed_runs_are_the_masks_runs(height, width, seed, share):
    build_class("coco_objects")
    decompress = sys.modules["hf_guidance.dataset_scripts.coco_objects.outlines"].decompress
    mask = np.asfortranarray(np.random.default_rng(seed).random((height, width)) < share, dtype=np.uint8)
    flat = mask.flatten(order="F")
    runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    assert decompress(coco.encode(mask)["counts"]) == ([0, *runs] if flat[0] else runs)


def test_smaller_object_lies_on_top(tmp_path, prepare):
    small, large = coco_annotation(0, bbox=(10, 10, 5, 5), category=7), coco_annotation(1, bbox=(0, 0, 30, 30))
    for index, annotations in enumerate(([small, large], [large, small])):
        root = make_coco(tmp_path / str(index), annotations, count=1)
        splits, _ = prepare("coco_objects", data_dir=str(root))
        row = splits["train"][0]
        assert np.array_equal(class_mask(row["mask"], 1), full(slice(10, 15), slice(10, 15)))
        assert np.array_equal(pixels(row) > 0, full(slice(0, 30), slice(0, 30)))
        assert pixels(row)[0, 0] == 1


def test_without_masks(tmp_path, prepare):
    broken = coco_annotation(0, segmentation=[[1, 2]])
    splits, _ = prepare("coco_objects", data_dir=str(make_coco(tmp_path, [broken])), masks=False)
    assert "mask" not in splits["train"].features
    assert splits["train"][0]["objects"] == [{"bbox": [2, 3, 12, 15], "category": 0}]
    assert splits["train"][1]["labels"] == []  # an image without objects stays


def test_splits_and_folders(tmp_path, prepare, build):
    for split, folder in {"train2014": "train2014", "val2014": "images/val2014"}.items():
        make_coco(tmp_path, count=3)
        (tmp_path / "images").rename(tmp_path / "moved")
        (tmp_path / folder).parent.mkdir(exist_ok=True)
        (tmp_path / "moved").rename(tmp_path / folder)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "instances.json").rename(tmp_path / "annotations" / f"instances_{split}.json")
    splits, _ = prepare("coco_objects", data_dir=str(tmp_path))
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "validation": 3}
    assert f"{os.sep}val2014{os.sep}" in splits["validation"].cast_column("image", _paths())[0]["image"]["path"]
    given = {"test": "annotations/instances_val2014.json"}
    splits, _ = prepare("coco_objects", data_dir=str(tmp_path), annotation_file=given, image_dir="train2014")
    assert {name: len(split) for name, split in splits.items()} == {"test": 3}
    with pytest.raises(ValueError, match=r"image_dir: none of \['nowhere'\] is a folder"):
        build("coco_objects", data_dir=str(tmp_path), image_dir="nowhere")


def _paths():
    import datasets

    return datasets.Image(decode=False)


def test_files_must_be_there_and_whole(tmp_path, build):
    with pytest.raises(ValueError, match="data_dir: got None; pass the folder"):
        build("coco_objects")
    with pytest.raises(ValueError, match=r"annotation_file: not found: .*; allowed: a folder with instances"):
        build("coco_objects", data_dir=str(tmp_path))
    make_coco(tmp_path)
    path = tmp_path / "instances.json"
    content = json.loads(path.read_text())
    for text, message in (
        ('{"images": [', r"instances\.json: this is not well-formed JSON"),
        ("[]", r"instances\.json: .* missing; allowed: an instances file"),
        (json.dumps({**content, "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]}), r"each once"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            build("coco_objects", data_dir=str(tmp_path))


def test_categories_must_agree_between_files(tmp_path, build):
    make_coco(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    (tmp_path / "instances.json").rename(tmp_path / "instances_train.json")
    content["categories"][0]["name"] = "wolf"
    (tmp_path / "instances_val.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="category 7 is 'wolf', and elsewhere 'dog'"):
        build("coco_objects", data_dir=str(tmp_path), image_dir="images")


def test_too_many_classes_for_a_mask(tmp_path, build):
    make_coco(tmp_path)
    names = [f"class {index}" for index in range(255)]
    with pytest.raises(ValueError, match=r"255 classes; a mask holds at most 254\. Pass masks=False"):
        build("coco_objects", data_dir=str(tmp_path), names=names)
    build("coco_objects", data_dir=str(tmp_path), names=names, masks=False)


def edit(root: Path, change) -> None:
    path = root / "instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def annotated(**fields):
    return lambda root: edit(root, lambda content: content["annotations"][0].update(fields))


def pictured(**fields):
    return lambda root: edit(root, lambda content: content["images"][0].update(fields))


# what is done to the folder, the reason it is counted under, what the error must say, whether image 0 stays
BAD = {
    "outside": (annotated(bbox=[42, 3, 11.5, 4]), "box outside the image", r"0\.jpg, annotation 0: .*xmax <= 40", True),
    "before": (annotated(bbox=[-13, 3, 10, 4]), "box outside the image", "x, y, width, height", True),
    "zero width": (annotated(bbox=[3, 3, 0, 4]), "box of zero width or height", "xmin < xmax", True),
    "reversed": (annotated(bbox=[9, 3, -4, 4]), "box reversed", "xmin < xmax", True),
    "nan": (annotated(bbox=[float("nan"), 3, 4, 4]), "box not finite", "annotation 0", True),
    "no box": (annotated(bbox=[]), "label without box", r"bbox \[\]", True),
    "class": (annotated(category_id=5), "unknown class", "category 5 is unknown; allowed: cat, dog", True),
    "orphan": (annotated(image_id=99), "box without image", "image 99 is not in images", True),
    "polygon": (annotated(segmentation=[[1, 1, 5, 5]]), "malformed polygon", "at least three points", True),
    "flat polygon": (annotated(segmentation=[1, 1, 5, 5, 3, 9]), "malformed polygon", "at least three points", True),
    "nan polygon": (annotated(segmentation=[[1, 1, 5, 5, float("nan"), 9]]), "malformed polygon", "finite", True),
    "rle size": (
        annotated(segmentation={"size": [40, 30], "counts": [1200]}),
        "size of mask and image differ",
        r"\[40, 30\], the image is \[30, 40\]",
        True,
    ),
    "rle sum": (annotated(segmentation={"size": [30, 40], "counts": [5, 9]}), "malformed RLE", "1200 pixels", True),
    "rle text": (annotated(segmentation={"size": [30, 40], "counts": "3"}), "malformed RLE", "annotation 0", True),
    "other size": (pictured(width=80), "size of annotation and image differ", "says 80x30, the image is 40x30", False),
    "id twice": (pictured(id=1), "image without an id of its own or a file_name", "each id once", None),
    "missing": (lambda root: (root / "images" / "0.jpg").unlink(), "box file without image", r"0\.jpg", False),
    "truncated": (
        lambda root: (root / "images" / "0.jpg").write_bytes((root / "images" / "0.jpg").read_bytes()[:-300]),
        "unreadable or truncated image",
        r"0\.jpg: the image is unreadable or truncated",
        False,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, tmp_path, prepare, caplog):
    root = make_coco(tmp_path / "raw", count=2)
    spoil, reason, message, stays = BAD[case]
    spoil(root)
    with pytest.raises(ValueError, match=message) as error:
        prepare("coco_objects", data_dir=str(root))
    assert "invalid='skip'" in str(error.value)
    splits, builder = prepare("coco_objects", data_dir=str(root), invalid="skip")
    assert reason in builder.report
    assert reason in caplog.text
    if stays is not None:
        assert {key: entry["count"] for key, entry in builder.report.items()} == {reason: 1}
        objects = {row["image_id"]: len(row["objects"]) for row in splits["train"]}
        assert objects == ({"0": 1, "1": 2} if stays else {"1": 2})


def test_repairs_are_counted(tmp_path, prepare):
    annotations = [coco_annotation(0, bbox=(30, 3, 10.4, 4)), coco_annotation(1, segmentation=[[5, 5, 5, 5, 5, 5]])]
    root = make_coco(tmp_path, annotations, count=1)
    edit(root, lambda content: content["images"][0].pop("width"))
    splits, builder = prepare("coco_objects", data_dir=str(root))
    assert splits["train"][0]["objects"][0]["bbox"] == [30, 3, 40, 7]
    assert {reason: entry["count"] for reason, entry in builder.report.items()} == {
        "box less than a pixel outside the image, clipped": 1,
        "outline covers no pixel, box drawn instead": 1,
        "size missing or 0, read from the image": 1,
    }


def test_changed_files_are_read_again(tmp_path, prepare):
    root = make_coco(tmp_path, count=1)
    prepare("coco_objects", data_dir=str(root))
    edit(root, lambda content: content["annotations"][0].update(bbox=[2, 3, 11, 12]))
    splits, _ = prepare("coco_objects", data_dir=str(root))
    assert splits["train"][0]["objects"][0]["bbox"] == [2, 3, 13, 15]
    write_image(root / "images" / "0.jpg", 50, 30)
    with pytest.raises(ValueError, match="says 40x30, the image is 50x30"):
        prepare("coco_objects", data_dir=str(root))
