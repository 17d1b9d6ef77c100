"""coco_objects against entries whose values have other types, and the order of its rows."""

import json

import pytest
from raw_folders import coco_annotation, make_coco

PAPER = {"preparation": "model_guidance"}


def edit(root, change):
    path = root / "instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return str(root)


def put(key, entry):
    """Entry 0 of a list with other values, or something else in its place."""

    def change(content):
        content[key][0] = {**content[key][0], **entry} if isinstance(entry, dict) else entry

    return change


# what is changed, what the error must say, whether image 0 stays
ENTRIES = {
    "bbox of text": (
        put("annotations", {"bbox": ["a", 1, 2, 3]}),
        r"annotations\[0\]: bbox is \['a', 1, 2, 3\]; allowed: four numbers: x, y, width, height\.",
        True,
    ),
    "bbox of a null": (put("annotations", {"bbox": [None, 1, 2, 3]}), r"annotations\[0\]: bbox is \[None", True),
    "bbox text": (put("annotations", {"bbox": "2345"}), r"annotations\[0\]: bbox is '2345'", True),
    "bbox number": (put("annotations", {"bbox": 5}), r"annotations\[0\]: bbox is 5", True),
    "annotation text": (put("annotations", "x"), r"annotations\[0\]: got 'x'; allowed: an object with image_id", True),
    "image_id list": (
        put("annotations", {"image_id": [1]}),
        r"image_id is \[1\]; allowed: a whole number or text",
        True,
    ),
    "image_id true": (put("annotations", {"image_id": False}), "image_id is False; allowed: a whole number", True),
    "category_id list": (put("annotations", {"category_id": [1]}), r"annotations\[0\]: category_id is \[1\]", True),
    "iscrowd text": (put("annotations", {"iscrowd": "0"}), "iscrowd is '0'; allowed: 0 or 1", True),
    "width text": (put("images", {"width": "40"}), r"images\[0\]: width is '40'; allowed: a number", False),
    "height list": (put("images", {"height": [30]}), r"images\[0\]: height is \[30\]; allowed: a number", False),
    "file_name number": (put("images", {"file_name": 5}), r"images\[0\]: file_name is 5; allowed: text", False),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_values_of_another_type_are_named(case, tmp_path, prepare):
    change, message, stays = ENTRIES[case]
    folder = edit(make_coco(tmp_path / "raw", count=2), change)
    with pytest.raises(ValueError, match=rf"raw/instances\.json, .*{message}.*invalid='skip'"):
        prepare("coco_objects", data_dir=folder)
    splits, builder = prepare("coco_objects", data_dir=folder, invalid="skip")
    assert {key: entry["count"] for key, entry in builder.report.items()} == {"malformed entry": 1}
    objects = {row["image_id"]: len(row["objects"]) for row in splits["train"]}
    assert objects == ({"0": 1, "1": 2} if stays else {"1": 2})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("x", "got 'x'; allowed: an object with id, file_name"),
        ({"id": [1]}, r"id is \[1\]; allowed: a whole number or text"),
        ({"id": 0.5}, "id is 0.5; allowed: a whole number or text"),
        ({"id": None}, "allowed: id and file_name, each id once"),
    ],
)
def test_images_without_an_id_leave_their_objects_behind(entry, message, tmp_path, prepare):
    folder = edit(make_coco(tmp_path / "raw", count=2), put("images", entry))
    with pytest.raises(ValueError, match=rf"raw/instances\.json, images\[0\]: .*{message}.*invalid='skip'"):
        prepare("coco_objects", data_dir=folder)
    splits, builder = prepare("coco_objects", data_dir=folder, invalid="skip")
    assert splits["train"]["image_id"][:] == ["1"]
    assert builder.report["box without image"]["count"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(images=None), "instances.json: images is None; allowed: lists"),
        (lambda content: content.update(annotations={}), "instances.json: annotations is {}; allowed: lists"),
        (lambda content: content.update(categories=3), "instances.json: categories is 3; allowed: lists"),
        (
            lambda content: content["categories"][1].pop("name"),
            r"categories\[1\]: got {'id': 3}; allowed: an id and a name",
        ),
        (lambda content: content["categories"][1].pop("id"), r"categories\[1\]: got .*; allowed: an id and a name"),
        (put("categories", {"name": 5}), r"categories\[0\]: name is 5; allowed: text"),
        (put("categories", {"id": [7]}), r"categories\[0\]: id is \[7\]; allowed: a whole number or text"),
        (put("categories", "dog"), r"categories\[0\]: got 'dog'; allowed: an object with id, name"),
    ],
)
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_files_without_lists_or_categories_are_always_errors(change, message, invalid, tmp_path, build):
    folder = edit(make_coco(tmp_path / "raw", count=1), change)
    with pytest.raises(ValueError, match=message) as error:
        build("coco_objects", data_dir=folder, invalid=invalid)
    assert "raw/instances.json" in str(error.value)
    assert "skip" not in str(error.value)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (5, "malformed polygon"),
        ("outline", "malformed polygon"),
        ([["a", 1, 5, 5, 3, 9]], "malformed polygon"),
        ({"size": 40, "counts": [1200]}, "size of mask and image differ"),
        ({"size": [30, 40], "counts": ["a"]}, "malformed RLE"),
        ({"size": [30, 40], "counts": 1200}, "malformed RLE"),
        ({"size": [30, 40]}, "malformed RLE"),
    ],
)
def test_outlines_of_another_type_are_named(segmentation, reason, tmp_path, prepare):
    root = make_coco(tmp_path / "raw", [coco_annotation(8, segmentation=segmentation)], count=1)
    with pytest.raises(ValueError, match=r"0\.jpg, annotation 8: .*invalid='skip'"):
        prepare("coco_objects", data_dir=str(root))
    _, builder = prepare("coco_objects", data_dir=str(root), invalid="skip")
    assert {key: entry["count"] for key, entry in builder.report.items()} == {reason: 1}


def with_ids(root, ids):
    """Image k has the k-th id, and a dog if k is odd, else a cat."""

    def change(content):
        for image, annotation, number in zip(content["images"], content["annotations"], ids, strict=True):
            image["id"] = annotation["image_id"] = number

    annotations = [coco_annotation(index, index, (3, 7)[index % 2]) for index in range(len(ids))]
    return edit(make_coco(root, annotations, count=len(ids)), change)


@pytest.mark.parametrize(
    ("ids", "ordered"),
    [
        ([57870, 9, 384029, 25], [9, 25, 57870, 384029]),
        (["57870", "9", "384029", "25"], ["25", "384029", "57870", "9"]),  # texts as Python sorts them
        (["b", 10, "a", 9], [9, 10, "a", "b"]),
    ],
    ids=["numbers", "texts", "both"],
)
def test_rows_are_in_the_order_of_ids_as_in_the_paper(ids, ordered, tmp_path, prepare):
    folder = with_ids(tmp_path / "raw", ids)
    for options, expected in (({}, ids), (PAPER, ordered)):
        splits, _ = prepare("coco_objects", data_dir=folder, **options)
        assert splits["train"]["image_id"][:] == [str(number) for number in expected]
        assert splits["train"]["labels"][:] == [[ids.index(number) % 2] for number in expected]


def test_a_split_file_keeps_the_order_of_ids(tmp_path, prepare):
    folder = with_ids(tmp_path / "raw", [57870, 9, 384029, 25])
    (tmp_path / "raw" / "split.json").write_text(json.dumps({"train": [384029, 57870, 25], "val": [9]}))
    splits, _ = prepare("coco_objects", data_dir=folder, split_file="split.json", **PAPER)
    assert splits["train"]["image_id"][:] == ["25", "57870", "384029"]


def test_ids_of_categories_may_be_texts(tmp_path, prepare):
    def change(content):
        content["categories"] = [{"id": "7", "name": "dog"}, {"id": 3, "name": "cat"}]
        content["annotations"][0]["category_id"] = "7"

    folder = edit(make_coco(tmp_path / "raw", [coco_annotation(0)], count=1), change)
    splits, builder = prepare("coco_objects", data_dir=folder)
    assert builder.info.features["labels"].feature.names == ["cat", "dog"]
    assert splits["train"]["labels"][:] == [[1]]
