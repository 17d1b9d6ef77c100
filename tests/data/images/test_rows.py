"""The row format: features, box checks against plain arithmetic, objects of a row, image reading, the report."""

import math
import pickle

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation, Report, shards
from hf_guidance.data.images.importance import ImportanceReader
from hf_guidance.data.images.rows import annotated_image_features, check_box, class_mask, verify_image


def test_features():
    features = annotated_image_features(["cat", "dog"])
    assert list(features) == ["image", "image_id", "labels", "objects"]
    assert features["labels"] == datasets.List(datasets.ClassLabel(names=["cat", "dog"]))
    assert features["objects"].feature["bbox"] == datasets.List(datasets.Value("float32"), length=4)
    assert list(annotated_image_features(["cat"], mask=True, groups=["a", "b"])) == [*features, "mask", "group"]
    assert annotated_image_features(["cat"], groups=["a", "b"])["group"].names == ["a", "b"]
    assert annotated_image_features(["cat"], groups=True)["group"] == datasets.Value("int64")
    assert "group" not in annotated_image_features(["cat"], groups=False)


@pytest.mark.parametrize("names", [[], ["cat", "cat"]])
def test_features_need_names(names):
    with pytest.raises(ValueError, match="at least one, each once"):
        annotated_image_features(names)


def test_rows_round_trip_through_features():
    features = annotated_image_features(["cat", "dog"], mask=True, groups=True)
    mask = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    row = {
        "image": Image.new("RGB", (2, 2)),
        "image_id": "a",
        "labels": [1],
        "objects": [{"bbox": [0, 0, 1.5, 2], "category": 1}],
        "mask": Image.fromarray(mask),
        "group": 3,
    }
    (back,) = datasets.Dataset.from_list([row], features=features)
    assert np.array_equal(np.asarray(back["mask"]), mask)
    assert back["objects"] == [{"bbox": [0, 0, 1.5, 2], "category": 1}]
    assert class_mask(back["mask"], 0).tolist() == [[False, True], [False, True]]
    assert class_mask(back["mask"], 1).tolist() == [[False, False], [True, True]]


numbers = st.one_of(st.integers(-3, 13), st.floats(-3, 13), st.sampled_from([math.nan, math.inf, -math.inf]))


@given(st.tuples(numbers, numbers, numbers, numbers), st.integers(1, 10), st.integers(1, 10))
def test_a_box_is_accepted_exactly_where_it_is_inside(box, width, height):
    x0, y0, x1, y1 = box
    inside = x0 >= 0 and x0 < x1 and x1 <= width and y0 >= 0 and y0 < y1 and y1 <= height
    if inside:
        check_box(box, width, height, "row")
    else:
        with pytest.raises(InvalidAnnotation, match="row: "):
            check_box(box, width, height, "row")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0, 0, 11, 5), "box outside the image"),
        ((-0.5, 0, 5, 5), "box outside the image"),
        ((3, 0, 3, 5), "box of zero width or height"),
        ((0, 5, 3, 5), "box of zero width or height"),
        ((4, 0, 3, 5), "box reversed"),
        ((0, 0, math.nan, 5), "box not finite"),
    ],
)
def test_the_error_says_what_is_wrong_and_what_is_allowed(box, reason):
    with pytest.raises(ValueError, match=reason) as error:
        check_box(box, 10, 5, "a.jpg, object 2", " A hint.")
    text = str(error.value)
    assert text.startswith("a.jpg, object 2: ")
    assert "allowed: 0 <= xmin < xmax <= 10 and 0 <= ymin < ymax <= 5. A hint. Fix it, or pass invalid='skip'" in text
    assert error.value.reason == reason
    copy = pickle.loads(pickle.dumps(error.value))  # errors cross processes
    assert (str(copy), copy.reason, copy.item) == (text, reason, "a.jpg, object 2")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".gif"])
def test_verify_image(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert verify_image(path) == (60, 40)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) * 9 // 10):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"a\{suffix}: the image is unreadable or truncated") as error:
            verify_image(path)
        assert error.value.reason == "unreadable or truncated image"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_verify_image_measures_what_datasets_decodes(orientation, tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40)).save(path, exif=exif)
    assert verify_image(path) == datasets.Image().decode_example({"path": str(path), "bytes": None}).size


def test_verify_image_without_a_file_or_an_image(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(ValueError, match=name):
            verify_image(tmp_path / name)


def test_report_counts_each_item_once():
    report = Report()
    assert report.add("too small", "a")
    assert not report.add("too small", "a")
    for item in "bcdefg":
        report.add("too small", item)
    other = Report()
    other.merge({"too small": ["a", "z"], "too large": ["q"]})
    other.merge({reason: list(items) for reason, items in report.items.items()})
    assert other.summary() == {
        "too large": {"count": 1, "examples": ["q"]},
        "too small": {"count": 8, "examples": ["a", "z", "b", "c", "d"]},
    }


@given(st.integers(0, 3000), st.integers(1, 100))
def test_shards_keep_order_and_size(count, size):
    parts = shards(range(count), size)
    assert [item for part in parts for item in part] == list(range(count))
    assert max(map(len, parts)) <= size
    assert len(parts) >= min(count, 16)


BOX = [0.0, 0.0, 9.0, 9.0]


def drawn(objects):
    return ImportanceReader("boxes", num_labels=3)({"objects": objects}, (48, 64), 1, "row 3")


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"bbox": BOX, "category": "cat"}], r"row 3.*object 0 has category 'cat'.*0 to 2.*str2int"),
        ([{"bbox": BOX, "category": None}], "category None"),
        ([{"bbox": BOX, "category": -1}], "category -1"),
        ([{"bbox": BOX, "category": 1}, {"bbox": BOX, "category": 9}], "object 1 has category 9"),
        ([{"bbox": BOX, "category": 1.5}], r"category 1\.5"),
        ([{"category": 1}], r"row 3.*object 0 has no 'bbox' but \['category'\]"),
        ([{"bbox": BOX, "classes": 1}], "no 'category' but .*'classes'.*rename"),
        ([{"bbox": BOX, "category": 1, "categories": 1}], "object 0 has 'category' and 'categories', two names of one"),
        ([BOX], "object 0 is .*, a list; give a dict"),
        ({"bbox": BOX, "category": 1}, r"row 3: objects has 1 in 'category'; give lists with one entry per box"),
        ({"bbox": BOX[0], "category": [1]}, r"row 3: objects has 0.0 in 'bbox'; give lists with one entry per box"),
        ({"bbox": BOX, "category": [1] * 4}, r"object 0 has bbox 0.0; correct the row"),
        ({"bbox": [BOX], "category": [1], "categories": [1]}, "row 3: objects has 'category' and 'categories'"),
        ([{"bbox": BOX[:3], "category": 1}], r"row 3.*bbox \[0\.0, 0\.0, 9\.0\].*xmin, ymin, xmax, ymax"),
        ([{"bbox": None, "category": 1}], "bbox None"),
        ({"bbox": [BOX], "classes": [1]}, r"row 3.*no 'category' but \['bbox', 'classes'\]; rename"),
        ({"bbox": [BOX, BOX], "categories": [1]}, r"row 3.*2 in 'bbox' and 1 in 'categories'"),
        ({"bbox": [BOX, BOX], "category": [1]}, r"row 3.*2 in 'bbox' and 1 in 'category'"),
        ("[]", "objects is a str; give a list"),
    ],
)
def test_bad_objects_are_named(objects, message):
    with pytest.raises(ValueError, match=message):
        drawn(objects)


def test_a_bad_box_is_not_answered_with_an_option_of_the_builders():
    objects = [{"bbox": [0.0, 0.0, 90.0, 9.0], "category": 1}]
    with pytest.raises(ValueError, match=r"allowed: 0 <= xmin.*Correct the row or drop the box") as error:
        drawn(objects)
    assert "invalid=" not in str(error.value)


def test_objects_as_lists_dicts_and_tensors_are_the_same():
    expected = np.zeros((48, 64))
    expected[:9, :9] = 255
    box, category = torch.tensor(BOX), torch.tensor(1)
    for objects in (
        [{"bbox": BOX, "category": 1}, {"bbox": [0, 0, 64, 48], "category": 0}],
        {"bbox": [BOX], "category": [1]},
        {"bbox": box[None], "category": category[None]},
        [{"bbox": box, "category": category}],
        [{"bbox": box.numpy(), "category": np.int64(1)}],
    ):
        assert np.array_equal(drawn(objects), expected)
    assert not drawn({"bbox": None, "category": None}).any()
