"""coco_objects: names of image files, folders and options as other tools write them; what cannot be read is named."""

import json

import numpy as np
import pytest
from raw_folders import coco_annotation, make_coco, write_image


def edit(root, change):
    content = json.loads((root / "instances.json").read_text())
    change(content)
    (root / "instances.json").write_text(json.dumps(content))
    return str(root)


@pytest.mark.parametrize("ending", ["JPG", "Jpg"])
def test_endings_in_another_case(ending, tmp_path, prepare):
    raw = edit(
        make_coco(tmp_path / "raw", count=2), lambda content: content["images"][0].update(file_name=f"0.{ending}")
    )
    splits, builder = prepare("coco_objects", data_dir=raw)
    assert splits["train"]["image_id"][:] == ["0", "1"]
    assert builder.report == {}


def test_of_endings_in_either_case_the_same_one_counts(tmp_path, prepare):
    root = make_coco(tmp_path / "raw", count=2)
    write_image(root / "images" / "sub" / "0.JPG", 44)
    edit(root, lambda content: content["images"][0].update(file_name="0.JPG", width=44))
    assert prepare("coco_objects", data_dir=str(root))[0]["train"][0]["image"].width == 44


@pytest.mark.parametrize("name", ["C:\\data\\images\\0.jpg", "/nowhere/images/0.jpg"])
def test_paths_on_another_computer_are_named(name, tmp_path, prepare):
    raw = edit(make_coco(tmp_path / "raw", count=2), lambda content: content["images"][0].update(file_name=name))
    with pytest.raises(ValueError, match=r"is the path on another computer: write it as one below .*raw/images"):
        prepare("coco_objects", data_dir=raw)


@pytest.mark.parametrize("file", ["val", "validation", "val2014"])
@pytest.mark.parametrize("folder", ["images/val", "images/validation", "validation", "val"])
def test_the_folder_of_a_split_by_any_of_its_names(file, folder, tmp_path, prepare):
    categories = [{"id": 3, "name": "cat"}]
    for name, place, width in (("train", "images/train", 40), (file, folder, 44)):
        write_image(tmp_path / "raw" / place / "0.jpg", width)
        content = {"images": [{"id": 0, "file_name": "0.jpg"}], "annotations": [coco_annotation(0)]}
        (tmp_path / "raw" / f"instances_{name}.json").write_text(json.dumps({**content, "categories": categories}))
    splits, _ = prepare("coco_objects", data_dir=str(tmp_path / "raw"))
    assert [splits[name][0]["image"].width for name in ("train", "validation")] == [40, 44]


def test_a_folder_of_another_use_beside_flat_images(tmp_path, prepare):
    raw = make_coco(tmp_path / "raw", count=1)
    (raw / "instances.json").rename(raw / "instances_train2017.json")
    (raw / "train").mkdir()
    assert prepare("coco_objects", data_dir=str(raw))[0]["train"].num_rows == 1


@pytest.mark.parametrize("key", ["val", "validation"])
def test_image_dir_by_any_name_of_a_split(key, tmp_path, prepare):
    raw = make_coco(tmp_path / "raw", count=1)
    (raw / "images").rename(raw / "mine")
    options = {"annotation_file": {"val": "instances.json"}, "image_dir": {key: "mine"}}
    assert prepare("coco_objects", data_dir=str(raw), **options)[0]["validation"].num_rows == 1


def test_val_is_validation_in_annotation_file(tmp_path, prepare):
    raw = str(make_coco(tmp_path / "raw", count=1))
    splits, _ = prepare("coco_objects", data_dir=raw, annotation_file={"val": "instances.json"}, image_dir="images")
    assert list(splits) == ["validation"]


@pytest.mark.parametrize(
    ("given", "message"),
    [(["instances.json"], r"got \['instances.json'\] as a path"), ({"train": None}, "got None as a path"), (3, "got 3 as a"),
     ({"val": "a", "validation": "b"}, "name one split twice")],
)  # fmt: skip
def test_what_annotation_file_may_be(given, message, tmp_path, build):
    with pytest.raises(ValueError, match=f"annotation_file: .*{message}"):
        build("coco_objects", data_dir=str(make_coco(tmp_path / "raw", count=1)), annotation_file=given)


@pytest.mark.parametrize("builder", ["coco_objects", "pascal_voc"])
@pytest.mark.parametrize("names", ["cat", ["cat", 3], ["cat", ""]])
def test_names_are_a_list_of_names(builder, names, tmp_path, build):
    with pytest.raises(ValueError, match=r"names: got .*; allowed: a list of names, such as"):
        build(builder, data_dir=str(tmp_path), names=names)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_utf(encoding, tmp_path, prepare):
    root = make_coco(tmp_path / "raw", count=2)
    (root / "instances.json").write_text((root / "instances.json").read_text(), encoding=encoding)
    (root / "split.json").write_text(json.dumps({"train": [0], "val": [1]}), encoding=encoding)
    splits, _ = prepare("coco_objects", data_dir=str(root), split_file="split.json")
    assert {name: rows["image_id"][:] for name, rows in splits.items()} == {"train": ["0"], "validation": ["1"]}


@pytest.mark.parametrize(("counts", "pixels"), [([100, 1100], 1100), ([100.0, 1100.0], 1100), ([100.5, 1099.5], None)])
def test_runs_of_a_mask_are_whole_numbers(counts, pixels, tmp_path, prepare):
    outline = {"size": [30, 40], "counts": counts}
    raw = str(make_coco(tmp_path / "raw", [coco_annotation(0, segmentation=outline)], count=1))
    if pixels is None:
        with pytest.raises(ValueError, match="its counts are not whole numbers that add up to 1200 pixels"):
            prepare("coco_objects", data_dir=raw)
    else:
        assert np.count_nonzero(prepare("coco_objects", data_dir=raw)[0]["train"][0]["mask"]) == pixels
