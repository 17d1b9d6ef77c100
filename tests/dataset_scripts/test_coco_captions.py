"""coco_captions: rows, masks and splits, what is counted, and every bad record."""

import json
from pathlib import Path

import numpy as np
import pytest
from raw_folders import coco_annotation, make_coco_captions, write_image

from hf_guidance.data import CaptionCollator, VisualWords, category_masks, encode_mask
from hf_guidance.models import caption_tokenizer

LEFT = np.zeros((30, 40), bool)
LEFT[:, :20] = True


@pytest.fixture
def raw(tmp_path):
    return make_coco_captions(tmp_path / "raw")


def caption(number=0, image=0, text="a cat"):
    return {"id": number, "image_id": image, "caption": text}


def ids(splits):
    return {name: split["caption_id"][:] for name, split in splits.items()}


def test_rows_and_masks(raw, prepare):
    splits, builder = prepare("coco_captions", data_dir=str(raw))
    assert ids(splits) == {
        "train": ["0", "1", "10", "11", "20", "21", "30", "31"],
        "validation": ["1000", "1010", "1020", "1030"],
    }
    assert builder.report == {}
    row = splits["train"][1]
    assert (row["image_id"], row["caption"], row["captions"]) == ("0", "a dog", ["A cat and a dog 0.", "a dog"])
    for split in splits.values():
        for row in split:
            masks = category_masks(row["segmentations"])
            assert np.array_equal(masks["cat"], LEFT)
            assert np.array_equal(masks["dog"], ~LEFT)
    everywhere, _ = prepare("coco_captions", data_dir=str(raw), per_image="always")
    assert ids(everywhere)["train"] == ["0", "10", "20", "30"]
    nowhere, _ = prepare("coco_captions", data_dir=str(raw), per_image="never")
    assert len(nowhere["validation"]) == 8


def test_words_have_importance(raw, prepare):
    train = prepare("coco_captions", data_dir=str(raw))[0]["train"]
    boxes = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]], np.float32)
    regions = {str(n): (np.eye(2, 3, dtype=np.float32), boxes) for n in range(4)}
    collate = CaptionCollator(caption_tokenizer(train["caption"]), regions=regions)
    batch = collate([train[index] for index in range(4)])
    assert batch["row"] == [0, 0, 1, 2, 2, 3]
    assert batch["time"] == [1, 4, 1, 1, 4, 1]
    assert batch["importance"].tolist() == [[1, 0], [0, 1], [0, 1]] * 2
    del regions["3"]
    with pytest.raises(ValueError, match=r"train: 1 of 4 images have no features in regions \(first: \['3'\]\)"):
        collate.check_rows(train, "train")


RUNS = [0, 30 * 10, 30 * 30]  # the first ten columns
TEXT = encode_mask("cat", np.arange(40) * np.ones((30, 1)) < 10)["counts"]


@pytest.mark.parametrize("counts", [RUNS, TEXT], ids=["runs", "text"])
def test_masks_of_a_category_are_joined_and_crowds_read(tmp_path, prepare, counts):
    rle = {"size": [30, 40], "counts": counts}
    entries = [
        coco_annotation(0, 0, 3, segmentation=rle, iscrowd=1),
        coco_annotation(1, 0, 3, segmentation=[[10, 0, 20, 0, 20, 30, 10, 30]]),
        coco_annotation(2, 1, 3, segmentation=[]),
        coco_annotation(3, 1, 7, segmentation=[[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]),
    ]
    raw = make_coco_captions(tmp_path / "raw", count=2, annotations=entries)
    splits, builder = prepare("coco_captions", data_dir=str(raw))
    masks = category_masks(splits["train"][0]["segmentations"])
    assert set(masks) == {"cat"}
    assert np.array_equal(masks["cat"], LEFT)
    assert splits["train"][2]["segmentations"] == []
    assert {reason: entry["count"] for reason, entry in builder.report.items()} == {
        "object without outline, left out": 1,
        "outline covers no pixel, left out": 1,
    }


def test_images(raw, prepare):
    for number in (*range(4), *range(100, 104)):
        write_image(raw / "pictures" / ("train" if number < 100 else "val") / f"{number}.jpg")
    splits, _ = prepare("coco_captions", data_dir=str(raw), image_dir="pictures", segmentations=False)
    assert splits["train"][0]["image"].size == (40, 30)
    assert "segmentations" not in splits["train"].column_names
    (raw / "pictures" / "val" / "101.jpg").unlink()
    with pytest.raises(ValueError, match=r"101\.jpg"):
        prepare("coco_captions", data_dir=str(raw), image_dir="pictures")


def karpathy(raw, splits):
    images = [
        {"cocoid": n, "filename": f"{n}.jpg", "split": split} for split, numbers in splits.items() for n in numbers
    ]
    (raw / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))


def test_karpathy_split(raw, prepare):
    karpathy(raw, {"train": [0, 1], "restval": [100], "val": [101], "test": [102, 3]})
    splits, builder = prepare("coco_captions", data_dir=str(raw), split_file="dataset_coco.json")
    assert ids(splits) == {
        "train": ["0", "1", "10", "11", "1000", "1001"], "validation": ["1010"], "test": ["30", "1020"],
    }  # fmt: skip
    assert builder.report == {"image in no split of the split file": {"count": 2, "examples": ["2", "103"]}}
    less, builder = prepare("coco_captions", data_dir=str(raw), split_file="dataset_coco.json", restval="drop")
    assert ids(less)["train"] == ["0", "1", "10", "11"]
    assert builder.report["image in no split of the split file"]["count"] == 3


def test_lists_of_ids(raw, prepare):
    (raw / "robust.json").write_text(json.dumps({"train": [0, "1.jpg"], "val": [2, 2], "test": [103]}))
    splits, builder = prepare("coco_captions", data_dir=str(raw), split_file="robust.json")
    assert ids(splits) == {"train": ["0", "1", "10", "11"], "validation": ["20"], "test": ["1030"]}
    assert builder.report["listed twice in the split file"]["count"] == 1
    assert builder.report["image in no split of the split file"]["count"] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [0, 55, 66]}, r"names 2 images that the annotations lack, such as \['55', '66'\]"),
        ({"train": [0], "val": ["0.jpg"]}, r"has image 0 in train and in validation; keep one"),
        ({"images": [{"cocoid": 0}]}, r"images\[0\] is \{'cocoid': 0\}; allowed: an object with split and cocoid"),
        ({"images": []}, r"lists no image"),
        ([], r"holds no lists by split"),
    ],
)
def test_bad_lists(raw, build, content, message):
    (raw / "lists.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        build("coco_captions", data_dir=str(raw), split_file="lists.json").download_and_prepare()


@pytest.mark.parametrize(
    ("wrong", "reason", "message"),
    [
        (caption(image=77), "caption without image", r"caption 0: its image 77 is not in images"),
        (caption(1), "caption listed twice", r"caption 1: another caption has its id"),
        (caption(text="  "), "empty caption", r"caption 0: its caption is empty"),
        (caption(text=None), "malformed caption", r"annotations\[1\]: it has no caption"),
        (caption(text=3), "malformed caption", r"annotations\[1\]: caption is 3; allowed: text"),
        ("a cat", "malformed caption", r"annotations\[1\]: got 'a cat'; allowed: an object"),
    ],
)
def test_bad_captions(tmp_path, prepare, wrong, reason, message):
    raw = make_coco_captions(tmp_path / "raw", captions=[caption(1), wrong])
    with pytest.raises(ValueError, match=message):
        prepare("coco_captions", data_dir=str(raw))
    splits, builder = prepare("coco_captions", data_dir=str(raw), invalid="skip")
    assert ids(splits)["train"] == ["1"]
    assert builder.report[reason]["count"] == 1
    assert builder.report["image without caption"]["count"] == 3


@pytest.mark.parametrize(
    ("wrong", "reason", "message"),
    [
        (
            coco_annotation(0, 0, 5, segmentation=[[0, 0, 9, 0, 9, 9]]),
            "object of unknown category or image",
            r"category 5 is not",
        ),
        (coco_annotation(0, 0, 3, segmentation=[[1, 2, 3]]), "malformed polygon", r"polygon \[1, 2, 3\]"),
        (
            {"image_id": 0},
            "malformed entry",
            r"annotations\[0\]: got .*allowed: an object with image_id and category_id",
        ),
        (
            coco_annotation(0, 0, 3, segmentation={"size": [5, 5], "counts": [25]}),
            "size of mask and image differ",
            r"the RLE is for \(height, width\) \[5, 5\]",
        ),
        (
            coco_annotation(0, 0, 3, segmentation={"size": [30, 40], "counts": [0, 5]}, iscrowd=1),
            "malformed RLE",
            r"its counts are not whole numbers that add up to 1200 pixels",
        ),
    ],
)
def test_bad_objects(tmp_path, prepare, wrong, reason, message):
    raw = make_coco_captions(tmp_path / "raw", annotations=[wrong])
    with pytest.raises(ValueError, match=message):
        prepare("coco_captions", data_dir=str(raw))
    splits, builder = prepare("coco_captions", data_dir=str(raw), invalid="skip")
    assert len(splits["train"]) == 8
    assert builder.report[reason]["count"] == 1
    assert splits["train"][0]["segmentations"] == []


def test_an_id_of_another_file_is_told(tmp_path, prepare):
    """Validation has captions 1000 and 1001; rows of all splits are told apart by their ids."""
    raw = make_coco_captions(tmp_path / "raw", captions=[caption(1), caption(1000, 2)])
    with pytest.raises(
        ValueError, match=r"captions_val2014\.json, caption 1000: another caption has its id\. Fix it, or pass"
    ):
        prepare("coco_captions", data_dir=str(raw))
    splits, builder = prepare("coco_captions", data_dir=str(raw), invalid="skip", per_image="never")
    assert ids(splits)["train"] == ["1", "1000"]
    assert "1000" not in ids(splits)["validation"]
    assert builder.report["caption listed twice"]["count"] == 1


def test_images_without_objects_and_captions_are_counted(tmp_path, prepare):
    raw = make_coco_captions(tmp_path / "raw", annotations=[], captions=[caption(5, 2)])
    splits, builder = prepare("coco_captions", data_dir=str(raw))
    assert ids(splits)["train"] == ["5"]
    assert builder.report == {
        "image without caption": {"count": 3, "examples": ["0", "1", "3"]},
        "image without masks, kept": {"count": 1, "examples": ["2"]},
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda raw: (raw / "annotations" / "captions_train2014.json").write_text("{}"),
            r"no list images and no list annotations",
        ),
        (
            lambda raw: [path.unlink() for path in raw.glob("annotations/captions*")],
            r"data_dir: no captions\*\.json in",
        ),
        (
            lambda raw: [path.unlink() for path in raw.glob("annotations/instances*")],
            r"data_dir: no instances\*\.json in",
        ),
    ],
)
def test_missing_files(raw, build, spoil, message):
    spoil(raw)
    with pytest.raises(ValueError, match=message):
        build("coco_captions", data_dir=str(raw)).download_and_prepare()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_dir": None}, r"data_dir: got None; pass the folder that holds captions\*\.json"),
        ({"data_dir": "nowhere"}, r"data_dir: .*nowhere is not a folder"),
        ({"restval": "test"}, r"restval: got 'test'; allowed: 'train', 'drop'"),
        ({"per_image": True}, r"per_image: got True; allowed"),
        ({"split_file": "none.json"}, r"split_file: .*none\.json is not a file"),
        ({"image_dir": "none"}, r"image_dir: .*none is not a folder"),
    ],
)
def test_options_are_checked(raw, build, options, message):
    with pytest.raises(ValueError, match=message):
        build("coco_captions", **{"data_dir": str(raw), **options}).download_and_prepare()


def test_result_files_of_coco_have_visual_words(shared):
    results = json.loads((Path(shared("captions")) / "captions_val2014_fakecap_results.json").read_text())
    words = VisualWords.coco()
    found = [words.find(entry["caption"]) for entry in results]
    assert len(results) == 1000
    assert sum(map(bool, found)) > 850
