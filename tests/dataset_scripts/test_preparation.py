"""pascal_voc and coco_objects at 224x224, as the released code of arXiv 2303.11932 prepares them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_folders import coco_annotation, make_coco, make_voc, voc_object, write_image, write_xml
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.data.images.preparation import VANISHED, prepared_boxes

PAPER = {"preparation": "model_guidance"}
GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "model_guidance" / "boxes_and_annotations.npz"


@pytest.fixture
def numbers():
    if not GOLDEN.is_file():
        pytest.skip("no ../shared/golden/model_guidance/boxes_and_annotations.npz")
    return np.load(GOLDEN)


def resized(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def boxes(row) -> list:
    return [entry["bbox"] for entry in row["objects"]]


def test_voc_boxes_of_the_released_rule(numbers, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", len(numbers["voc_boxes_xyxy"]))
    for index, ((width, height), box) in enumerate(
        zip(numbers["voc_image_wh"].tolist(), numbers["voc_boxes_xyxy"].tolist(), strict=True)
    ):
        write_image(root / "JPEGImages" / f"{index}.jpg", width, height)
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        write_xml(root / "Annotations" / f"{index}.xml", voc_object(box=box), size=size)
    splits, builder = prepare("pascal_voc", data_dir=str(root), **PAPER)
    assert [boxes(row) for row in splits["train"]] == numbers["voc_boxes_224"][:, None].tolist()
    for index, row in enumerate(splits["train"]):
        assert np.array_equal(np.asarray(row["image"]), resized(root / "JPEGImages" / f"{index}.jpg"))
    assert builder.report == {}


def test_coco_boxes_and_classes_of_the_released_rule(numbers, tmp_path, prepare):
    sizes, given = numbers["voc_image_wh"].tolist(), numbers["coco_boxes_xywh"].tolist()
    root = make_coco(tmp_path, [coco_annotation(i, i, bbox=box) for i, box in enumerate(given)], count=len(sizes))
    for index, (width, height) in enumerate(sizes):
        write_image(root / "images" / f"{index}.jpg", width, height)
    content = json.loads((root / "instances.json").read_text())
    for image, (width, height) in zip(content["images"], sizes, strict=True):
        image.update(width=width, height=height)
    (root / "instances.json").write_text(json.dumps(content))
    splits, _ = prepare("coco_objects", data_dir=str(root), **PAPER)
    assert [boxes(row) for row in splits["train"]] == numbers["coco_boxes_224"][:, None].tolist()
    assert np.array_equal(np.asarray(splits["train"][2]["image"]), resized(root / "images" / "2.jpg"))


def test_coco_classes_of_the_released_order(numbers, tmp_path, prepare):
    indices = numbers["coco_category_id_to_class_index"]
    used = np.flatnonzero(indices >= 0).tolist()
    root = make_coco(tmp_path, [coco_annotation(i, 0, category=i) for i in used], count=1)
    content = json.loads((root / "instances.json").read_text())
    content["categories"] = [{"id": i, "name": f"name {i}"} for i in reversed(used)]
    (root / "instances.json").write_text(json.dumps(content))
    splits, builder = prepare("coco_objects", data_dir=str(root), **PAPER)
    assert len(builder.info.features["labels"].feature.names) == 80
    assert [entry["category"] for entry in splits["train"][0]["objects"]] == indices[used].tolist()
    assert splits["train"][0]["labels"] == list(range(80))


def test_boxes_left_without_a_pixel_keep_their_class_and_are_counted(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    write_image(root / "JPEGImages" / "0.jpg", 500, 300)
    size = "<size><width>500</width><height>300</height></size>"
    tiny = voc_object("dog", (10, 10, 11, 200)) + voc_object("dog", (499, 10, 500, 200))
    write_xml(root / "Annotations" / "0.xml", voc_object("cat", (1, 1, 500, 300)) + tiny, size=size)
    splits, builder = prepare("pascal_voc", data_dir=str(root), **PAPER)
    row = splits["train"][0]
    assert row["labels"] == [0, 1]
    assert row["objects"] == [{"bbox": [0, 0, 223, 223], "category": 0}]
    assert builder.report[VANISHED]["count"] == 2
    batch = GuidanceCollator(ViTImageProcessor(), "multi_label_classification", 2)([row])
    assert batch["labels"].tolist() == [[1, 1]]
    assert batch["annotated"] == [True, False]
    assert np.array_equal(batch["importance"][0].numpy(), boxes_to_mask([[0, 0, 223, 223]], 224, 224).numpy())


def test_the_files_numbers_are_resized_not_those_from_zero(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)  # 40 x 30: dog (5, 6, 40, 30), cat (1, 1, 10, 10)
    expected = [[28, 44, 223, 223], [5, 7, 56, 74]]
    for one_based in (True, False):
        splits, _ = prepare("pascal_voc", data_dir=str(root), one_based=one_based, **PAPER)
        assert boxes(splits["train"][0]) == expected


def test_difficult_objects_stay_and_train_and_val_stay_apart(tmp_path, prepare):
    root = make_voc(tmp_path / "raw")
    write_xml(root / "Annotations" / "0.xml", voc_object("gnu", flags="<difficult>1</difficult>"))
    main = root / "ImageSets" / "Main"
    (main / "train.txt").write_text("0\n1\n2\n")
    (main / "trainval.txt").write_text("0\n1\n2\n3\n")
    splits, builder = prepare("pascal_voc", data_dir=str(root), **PAPER)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "validation": 1}
    assert builder.info.features["labels"].feature.names == ["cat", "dog", "gnu"]
    assert splits["train"][0]["labels"] == [2]
    for file in ("train.txt", "val.txt"):
        (main / file).unlink()
    splits, _ = prepare("pascal_voc", data_dir=str(root), **PAPER)
    assert {name: len(split) for name, split in splits.items()} == {"trainval": 4}


def test_rotated_photos_are_prepared_as_they_are_decoded(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((40, 30, 3), np.uint8)
    pixels[:, :15] = 255  # on the left as stored, on top as decoded
    Image.fromarray(pixels).save(root / "JPEGImages" / "0.jpg", exif=exif)
    splits, _ = prepare("pascal_voc", data_dir=str(root), **PAPER)
    image = np.asarray(splits["train"][0]["image"].convert("L"))
    assert image[:100].min() > 200
    assert image[-100:].max() < 50


def test_without_masks_unless_asked(tmp_path, prepare):
    outline = [[4, 6, 20, 6, 20, 18, 4, 18]]
    root = make_coco(tmp_path, [coco_annotation(0, bbox=(4, 6, 16, 12), segmentation=outline)], count=1)
    splits, _ = prepare("coco_objects", data_dir=str(root), **PAPER)
    assert "mask" not in splits["train"].features
    splits, _ = prepare("coco_objects", data_dir=str(root), masks=True, **PAPER)
    as_is, _ = prepare("coco_objects", data_dir=str(root))
    nearest = as_is["train"][0]["mask"].resize((224, 224), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(splits["train"][0]["mask"]), np.asarray(nearest))


def split_coco(root: Path, **images: list[int]) -> Path:
    """annotations/<file>.json for each keyword, with those of the images 0 to 5; val2014 has images of its own."""
    make_coco(root, count=6)
    content = json.loads((root / "instances.json").read_text())
    (root / "instances.json").unlink()
    (root / "images").rename(root / "train2014")
    (root / "annotations").mkdir()
    for file, ids in {"instances_train2014": range(6), **images}.items():
        part = {
            **content,
            "images": [image for image in content["images"] if image["id"] in ids],
            "annotations": [entry for entry in content["annotations"] if entry["image_id"] in ids],
        }
        (root / "annotations" / f"{file}.json").write_text(json.dumps(part))
    make_coco(root / "other", count=2)
    (root / "other" / "images").rename(root / "val2014")
    os.rename(root / "other" / "instances.json", root / "annotations" / "instances_val2014.json")
    return root


def ids(splits) -> dict[str, list[str]]:
    return {name: dataset["image_id"][:] for name, dataset in splits.items()}


def test_coco_splits_of_the_paper(tmp_path, prepare):
    root = split_coco(tmp_path, train2014_train_split=[0, 2, 3, 5], train2014_val_split=[1, 4])
    splits, _ = prepare("coco_objects", data_dir=str(root), **PAPER)
    assert ids(splits) == {"train": ["0", "2", "3", "5"], "validation": ["1", "4"], "test": ["0", "1"]}
    splits, _ = prepare("coco_objects", data_dir=str(root))
    assert ids(splits) == {"train": ["0", "1", "2", "3", "4", "5"], "validation": ["0", "1"]}


def test_half_of_the_parts_is_refused(tmp_path, build):
    root = split_coco(tmp_path, train2014_val_split=[1, 4])
    with pytest.raises(ValueError, match=r"train2014_val_split\.json.*one part of train2014 only; give .* or neither"):
        build("coco_objects", data_dir=str(root), **PAPER)
    (root / "annotations" / "train2014_val_split.json").rename(root / "annotations" / "instances_test2014.json")
    with pytest.raises(ValueError, match="val and test would both be test; pass annotation_file"):
        build("coco_objects", data_dir=str(root), **PAPER)


@pytest.mark.parametrize(
    "lists",
    [
        {"train": [0, 2, 5], "val": [1, 4]},
        {"train": ["0.jpg", "2.jpg", "5.jpg"], "validation": ["1", 4]},
    ],
    ids=["ids", "names"],
)
def test_a_split_file_cuts_train_in_two(lists, tmp_path, prepare):
    root = split_coco(tmp_path)
    (root / "split.json").write_text(json.dumps(lists))
    splits, builder = prepare("coco_objects", data_dir=str(root), split_file="split.json", **PAPER)
    assert ids(splits) == {"train": ["0", "2", "5"], "validation": ["1", "4"], "test": ["0", "1"]}
    assert builder.report == {"in no split of the split file": {"count": 1, "examples": ["3.jpg"]}}
    (root / "split.json").write_text(json.dumps({**lists, "train": [0]}))  # a changed list is read again
    splits, _ = prepare("coco_objects", data_dir=str(root), split_file="split.json", **PAPER)
    assert ids(splits)["train"] == ["0"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not well-formed JSON"),
        ("[1, 2]", r"holds no lists by split; allowed: \{\"train\": \[\.\.\.\], \"val\": \[\.\.\.\]\}"),
        ("{}", "holds no lists by split"),
        ('{"train": 3}', "holds no lists by split"),
        (
            '{"train": [0, 99, "x.jpg"]}',
            r"names 2 images that the training annotations lack, such as \['99', 'x\.jpg'\]",
        ),
        ('{"train": [0, 1], "val": ["1.jpg"]}', r"1\.jpg in train and in validation; keep one"),
        ('{"train": [0], "test": [1]}', "test has an annotation file of its own"),
    ],
)
def test_bad_split_files_are_named(content, message, tmp_path, prepare):
    root = split_coco(tmp_path)
    (root / "split.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        prepare("coco_objects", data_dir=str(root), split_file="split.json", **PAPER)


def test_a_split_file_needs_a_file_to_cut(tmp_path, build, prepare):
    root = split_coco(tmp_path)
    with pytest.raises(ValueError, match=r"split_file: .*nowhere\.json is not a file"):
        build("coco_objects", data_dir=str(root), split_file="nowhere.json")
    (root / "annotations" / "instances_train2014.json").unlink()
    (root / "split.json").write_text('{"train": [0]}')
    with pytest.raises(ValueError, match="split_file: it cuts the split train, and there is only test"):
        prepare("coco_objects", data_dir=str(root), split_file="split.json", **PAPER)


@pytest.mark.parametrize(("name", "make"), [("pascal_voc", make_voc), ("coco_objects", make_coco)])
def test_other_preparations_are_refused(name, make, tmp_path, build):
    with pytest.raises(ValueError, match="preparation: got 'paper'; allowed: 'as_is', 'model_guidance'"):
        build(name, data_dir=str(make(tmp_path)), preparation="paper")


def test_no_box_at_all():
    assert prepared_boxes([], (30, 20)) == []
    assert prepared_boxes([[1, 1, 144, 109], [7, 7, 8, 9]], (500, 375)) == [[0, 0, 64, 65], None]


def test_where_the_released_script_rounds_the_ratio_first():
    assert prepared_boxes([[0, 0, 55, 20]], (110, 224)) == [[0, 0, 112, 20]]  # 55 is half of 110, and 112 of 224
    assert int(55 * (224 / 110)) == 111
