"""coco_objects: oddities of the official files, sub-folders, ids of either type, whole names of splits, labels that stay."""

import json

import numpy as np
import pytest
from PIL import Image
from raw_folders import coco_annotation, make_coco

CLIPPED = "box partly outside the image, clipped"
FLAT = "outline of zero width or height, no box, its class kept"
# annotation 918 of COCO 2014, moved into a small image
LINE = {"bbox": (6.65, 8.33, 1.03, 0.0), "segmentation": [[6.65, 8.33, 6.65, 8.33, 7.68, 8.33, 7.68, 8.33]]}


def counts(builder):
    return {reason: entry["count"] for reason, entry in builder.report.items()}


def edit(root, change):
    content = json.loads((root / "instances.json").read_text())
    change(content)
    (root / "instances.json").write_text(json.dumps(content))
    return str(root)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_outlines_without_height_keep_their_class_with_no_option(masks, invalid, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(918, category=7, **LINE), coco_annotation(1)], count=2)
    splits, builder = prepare("coco_objects", data_dir=str(root), masks=masks, invalid=invalid)
    assert splits["train"]["labels"][:] == [[0, 1], []]  # an image without annotations stays
    assert [entry["bbox"] for entry in splits["train"][0]["objects"]] == [[2, 3, 12, 15]]
    assert counts(builder) == {FLAT: 1}


def test_tiny_boxes_and_grey_photos_load_with_no_option(tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(0, bbox=(8.5, 9.25, 0.4, 0.01)), coco_annotation(1, 1)], count=2)
    Image.new("L", (40, 30), 9).save(root / "images" / "0.jpg")
    splits, builder = prepare("coco_objects", data_dir=str(root))
    assert splits["train"][0]["objects"][0]["bbox"] == [8.5, 9.25, pytest.approx(8.9), pytest.approx(9.26)]
    assert np.asarray(splits["train"][0]["mask"])[9, 8] == 1
    assert counts(builder) == {}


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [((30, 3, 11.5, 4), [30, 3, 40, 7]), ((-3, 3, 10, 4), [0, 3, 7, 7]), ((5, 6, 12, 900), [5, 6, 17, 30])],
)
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_boxes_that_overlap_the_image_are_cut_and_counted(bbox, expected, invalid, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(5, bbox=bbox), coco_annotation(6, bbox=(38, 3, 2.0000001, 4))], count=1)
    splits, builder = prepare("coco_objects", data_dir=str(root), invalid=invalid)
    assert [entry["bbox"] for entry in splits["train"][0]["objects"]] == [expected, [38, 3, 40, 7]]
    assert builder.report[CLIPPED] == {"count": 1, "examples": [f"{root}/images/0.jpg, annotation 5"]}
    assert counts(builder) == {CLIPPED: 1, "box less than a pixel outside the image, clipped": 1}


LOST = {
    "outside": {"bbox": (60, 1, 9, 9)},
    "reversed": {"bbox": (9, 1, -4, 9)},
    "empty": {"bbox": (9, 1, 0, 9)},
    "no box": {"bbox": []},
    "text": {"bbox": ["a", 1, 2, 3]},
    "text for numbers": {"bbox": "1 2 3 4"},
    "crowd of text": {"iscrowd": "no"},
    "outline": {"segmentation": [[1, 2, 3]]},
    "far outline": {"segmentation": [[1, 2, 1e12, 3, 4, 5]]},
}


@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("options", [{}, {"preparation": "model_guidance", "masks": True}], ids=["as is", "paper"])
def test_a_box_that_is_skipped_leaves_its_class_in_the_labels(case, options, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(0, category=7) | LOST[case], coco_annotation(1, 1)], count=2)
    splits, builder = prepare("coco_objects", data_dir=str(root), invalid="skip", **options)
    assert splits["train"]["labels"][:] == [[1], [0]]
    assert [len(row["objects"]) for row in splits["train"]] == [0, 1]
    assert sum(counts(builder).values()) == 1


def test_shares_of_the_image_are_no_pixels(tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(0, bbox=(0.1, 0.2, 0.5, 0.75)), coco_annotation(1, 1)], count=2)
    with pytest.raises(ValueError, match=r"0\.jpg: its boxes lie in \[0, 1\].*multiply x by the image's width, 40"):
        prepare("coco_objects", data_dir=str(root))
    splits, builder = prepare("coco_objects", data_dir=str(root), invalid="skip")
    assert counts(builder) == {"boxes in [0, 1]": 1}
    assert splits["train"]["image_id"][:] == ["1"]


@pytest.mark.parametrize("written", [True, False])
def test_photos_that_exif_turns(written, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(0, bbox=(31, 3, 8, 9)), coco_annotation(1, bbox=(1, 1, 9, 9))], count=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(root / "images" / "0.jpg", exif=exif)  # decoded as 30 x 40
    if not written:
        edit(root, lambda content: [content["images"][0].pop(side) for side in ("width", "height")])
    with pytest.raises(ValueError, match=r"0\.jpg: .*EXIF turns the photo.*remove the orientation"):
        prepare("coco_objects", data_dir=str(root))


@pytest.mark.parametrize("name", ["a/b/0.jpg", "a\\b\\0.jpg", "b/0.jpg", "0.jpg", "images/a/b/0.jpg", "./a/b/0.jpg"])
def test_sub_folders_and_names_of_other_systems(name, tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(0)], count=2)
    (root / "images" / "a" / "b").mkdir(parents=True)
    (root / "images" / "0.jpg").rename(root / "images" / "a" / "b" / "0.jpg")
    edit(root, lambda content: content["images"][0].update(file_name=name))
    splits, builder = prepare("coco_objects", data_dir=str(root))
    assert splits["train"]["labels"][:] == [[0], []]
    assert builder.report == {}


def test_names_that_several_files_or_none_have(tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(0)], count=2)
    for folder in ("a", "b"):
        (root / "images" / folder).mkdir()
        (root / "images" / folder / "0.jpg").write_bytes((root / "images" / "0.jpg").read_bytes())
    (root / "images" / "0.jpg").unlink()
    with pytest.raises(ValueError, match=r"images/0\.jpg: it may be any of \['a/0\.jpg', 'b/0\.jpg'\]"):
        prepare("coco_objects", data_dir=str(root))
    _, builder = prepare("coco_objects", data_dir=str(root), invalid="skip")
    assert counts(builder) == {"several images of one name": 1}
    edit(root, lambda content: content["images"][0].update(file_name="c/0.jpg"))  # not the one of another folder
    with pytest.raises(ValueError, match=r"images/c/0\.jpg: it is annotated, but the file does not exist"):
        prepare("coco_objects", data_dir=str(root))


@pytest.mark.parametrize("extension", ["tif", "gif", "webp", "bmp"])
def test_images_of_other_endings(extension, tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(0)], count=1)
    Image.new("RGB", (40, 30), "red").save(root / "images" / f"0.{extension}")
    edit(root, lambda content: content["images"][0].update(file_name=f"0.{extension}"))
    splits, _ = prepare("coco_objects", data_dir=str(root))
    assert splits["train"][0]["image"].convert("RGB").getpixel((3, 3))[0] > 250


@pytest.mark.parametrize("kind", [str, float])
def test_ids_as_text_or_number_are_the_same(kind, tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(0, 0, 3), coco_annotation(1, 1, 7)], count=2)

    def change(content):
        for annotation in content["annotations"]:
            annotation.update({key: kind(annotation[key]) for key in ("image_id", "category_id")})

    folder = edit(root, change)
    (root / "split.json").write_text(json.dumps({"train": [kind(0)], "val": [1]}))
    splits, builder = prepare("coco_objects", data_dir=folder, split_file="split.json")
    assert {name: split["labels"][:] for name, split in splits.items()} == {"train": [[0]], "validation": [[1]]}
    assert splits["validation"]["image_id"][:] == ["1"]
    assert builder.report == {}


def test_ids_that_are_the_same_as_text_are_one_id(tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(0)], count=2)
    edit(root, lambda content: content["images"][1].update(id="0"))
    with pytest.raises(ValueError, match=r"images\[1\]: got {'id': '0'.*each id once"):
        prepare("coco_objects", data_dir=str(root))


def test_duplicates_are_counted(tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(4), coco_annotation(4, 1)], count=2)
    edit(root, lambda content: content["images"][1].update(file_name="0.jpg"))
    (root / "split.json").write_text(json.dumps({"train": [0, "0", 1]}))
    _, builder = prepare("coco_objects", data_dir=str(root), split_file="split.json")
    assert counts(builder) == {
        "annotation id twice, both kept": 1,
        "file_name of several images, kept": 1,
        "listed twice in the split file": 1,
    }


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ["0.jpg"], "val": [1]}, r"names 0\.jpg, which may be any of 2 images; name them by id"),
        ({"train": [True]}, "holds True in 'train'; allowed: ids or file names"),
        ({"train": [0], "val": [1], "validation": [2]}, "two lists for validation, the second as 'validation'"),
    ],
)
def test_lists_that_are_not_clear_are_refused(lists, message, tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(0)], count=3)
    edit(root, lambda content: [content["images"][index].update(file_name=f"{'ab'[index]}/0.jpg") for index in (0, 1)])
    (root / "split.json").write_text(json.dumps(lists))
    with pytest.raises(ValueError, match=message):
        prepare("coco_objects", data_dir=str(root), split_file="split.json")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances", "train"), ("instances_default", "train"), ("instances_train", "train"), ("instances_train2014", "train"),
        ("instances_val2017", "validation"), ("instances_validation", "validation"), ("instances_test", "test"),
        ("instances_trainval2014", "trainval"), ("instances_Val", "validation"), ("instances-test", "test"),
    ],
)  # fmt: skip
def test_names_of_splits(name, split, tmp_path, prepare):
    root = make_coco(tmp_path, count=1)
    (root / "instances.json").rename(root / f"{name}.json")
    splits, _ = prepare("coco_objects", data_dir=str(root))
    assert list(splits) == [split]


@pytest.mark.parametrize(
    "name", ["train2", "minival2014", "valminusminival2014", "test-dev2015", "train_val", "training"]
)
def test_names_that_only_look_like_a_split_are_refused(name, tmp_path, build, prepare):
    root = make_coco(tmp_path, count=1)
    (root / "instances.json").rename(root / f"instances_{name}.json")
    with pytest.raises(ValueError, match=rf"instances_{name}\.json: its name says .*pass annotation_file"):
        build("coco_objects", data_dir=str(root))
    splits, _ = prepare("coco_objects", data_dir=str(root), annotation_file={"test": f"instances_{name}.json"})
    assert list(splits) == ["test"]


@pytest.mark.parametrize("entry", [[1, 2], "x", None, 5, {}])
@pytest.mark.parametrize("key", ["images", "annotations"])
def test_entries_of_any_form_are_skipped_and_counted(entry, key, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(index, index) for index in range(2)], count=2)
    edit(root, lambda content: content[key].append(entry))
    with pytest.raises(ValueError, match=rf"{key}\[2\]: .*invalid='skip'"):
        prepare("coco_objects", data_dir=str(root))
    splits, builder = prepare("coco_objects", data_dir=str(root), invalid="skip")
    assert splits["train"]["labels"][:] == [[0], [0]]
    assert sum(counts(builder).values()) == 1
