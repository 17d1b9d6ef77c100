"""digits_on_photos: the correlation is exact, splits share nothing, boxes and masks are exact, seeds decide everything."""

import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images

from hf_guidance.data.builders import dataset_builder

SMALL = {"train_size": 60, "validation_size": 20, "test_size": 20}


@pytest.fixture(scope="module")
def script():
    return sys.modules[type(dataset_builder("digits_on_photos")).__module__]


def groups(split) -> list[int]:
    return split["group"][:]


def arrays(row) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(row["image"]).astype(int), np.asarray(row["mask"])


@pytest.mark.parametrize(("correlation", "agreeing"), [(0.0, 0), (0.5, 30), (0.95, 57), (0.98, 59), (1.0, 60)])
def test_correlation_is_exact(correlation, agreeing, prepare):
    splits, _ = prepare("digits_on_photos", correlation=correlation, **SMALL)
    train = splits["train"]
    labels, backgrounds = np.array(train["labels"][:])[:, 0], np.array(groups(train)) % 2
    assert np.array_equal(np.array(groups(train)) // 2, labels)
    assert (labels == backgrounds).sum() == agreeing
    assert labels.sum() == 30
    for split in ("validation", "test"):
        assert Counter(groups(splits[split])) == dict.fromkeys(range(4), 5)


@pytest.mark.parametrize(("size", "correlation"), [(7, 0.5), (9, 0.3), (11, 1.0), (1, 0.5), (2001, 0.95)])
def test_plan_is_as_even_as_it_can_be(size, correlation, script):
    plan = script.plan("train", size, 2, correlation, seed=3)
    assert plan.shape == (size, 2)
    assert (plan[:, 0] == plan[:, 1]).sum() == round(size * correlation)
    assert abs(2 * plan[:, 0].sum() - size) <= 1
    for agrees in (True, False):
        labels = plan[(plan[:, 0] == plan[:, 1]) == agrees, 0]
        assert abs(2 * labels.sum() - len(labels)) <= 1


def test_names(prepare):
    splits, builder = prepare("digits_on_photos", **SMALL)
    features = builder.info.features
    assert features["labels"].feature.names == ["0-6-8", "1-4-7"]
    assert features["group"].names == ["0-6-8_on_china", "0-6-8_on_flower", "1-4-7_on_china", "1-4-7_on_flower"]
    assert splits["train"][0]["image"].size == (64, 64)


def test_boxes_are_tight_and_masks_exact(prepare):
    splits, _ = prepare("digits_on_photos", **SMALL)
    photos = [np.round(np.asarray(photo) * 0.6).astype(int) for photo in load_sample_images().images]
    for row in splits["train"].select(range(8)):
        image, mask = arrays(row)
        assert set(np.unique(mask)) == {0, 255}
        rows, columns = np.nonzero(mask)
        (entry,) = row["objects"]
        assert entry["bbox"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert max(np.ptp(rows), np.ptp(columns)) < 26
        # outside the mask the image is a piece of its photograph, at its brightness, to the last pixel
        photo, outside = photos[row["group"] % 2], mask == 0
        places = [
            (top, left)
            for top, left in zip(*np.nonzero((photo[:-63, :-63] == image[0, 0]).all(2) | ~outside[0, 0]), strict=True)
            if np.array_equal(photo[top : top + 64, left : left + 64][outside], image[outside])
        ]
        assert places
        # strips 0, 2 and 4 belong to train, and no crop leaves its strip
        assert any(left // 128 in (0, 2, 4) and left // 128 == (left + 63) // 128 for _, left in places)


def test_digit_samples_are_in_one_split(script):
    data = load_digits()
    for digit in range(10):
        parts = [script.digit_inks(split, 26)[digit] for split in script.SPLITS]
        expected = np.stack([script.upscale(image / 16, 26) for image in data.images[data.target == digit]])
        whole = {ink.tobytes() for ink in expected}
        seen = [{ink.tobytes() for ink in part} for part in parts]
        assert set.union(*seen) == whole
        assert sum(map(len, parts)) == len(expected)
        assert sum(map(len, seen)) == len(whole)
        assert all(len(part) > 30 for part in parts)


def test_strips_are_in_one_split(script):
    assert sorted(strip for strips in script.STRIPS.values() for strip in strips) == list(range(5))
    assert [photo.shape for photo in script.photos()] == [(script.HEIGHT, 5 * script.STRIP, 3)] * 2


def test_backgrounds_are_dark_and_digits_bright(prepare):
    splits, _ = prepare("digits_on_photos", **SMALL)
    for row in splits["test"]:
        image, mask = arrays(row)
        assert image[mask == 0].max() <= round(255 * 0.6)
        assert image[mask == 255].max() > 200


def test_digits_belong_to_their_class(prepare, script):
    splits, _ = prepare("digits_on_photos", classes=((3,), (5,)), brightness=0.0, **SMALL)
    inks = {label: script.digit_inks("test", 26)[digit] for label, digit in enumerate((3, 5))}
    boxed = {
        label: {np.round(255 * ink[ink.any(1)][:, ink.any(0)]).astype(int).tobytes() for ink in part}
        for label, part in inks.items()
    }
    for row in splits["test"]:
        image, _ = arrays(row)
        x0, y0, x1, y1 = map(int, row["objects"][0]["bbox"])
        assert image[y0:y1, x0:x1, 0].tobytes() in boxed[row["labels"][0]]


def content(dataset) -> list:
    return [(row["image"].tobytes(), row["mask"].tobytes(), row["objects"], row["group"]) for row in dataset]


def test_seed_decides(prepare, tmp_path):
    first, _ = prepare("digits_on_photos", **SMALL)
    again, _ = prepare("digits_on_photos", cache_dir=str(tmp_path / "again"), **SMALL)
    other, _ = prepare("digits_on_photos", seed=1, **SMALL)
    biased, _ = prepare("digits_on_photos", correlation=1.0, **SMALL)
    for split in first:
        assert content(first[split]) == content(again[split])
        assert content(first[split]) != content(other[split])
    assert content(first["test"]) == content(biased["test"])  # the training bias leaves the test set alone
    assert content(first["train"]) != content(biased["train"])


def test_sizes(prepare):
    splits, _ = prepare(
        "digits_on_photos", image_size=128, digit_size=128, train_size=3, validation_size=0, test_size=2
    )
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "test": 2}
    assert splits["train"][0]["image"].size == (128, 128)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 129}, r"image_size: got 129; allowed: 8 to 128"),
        ({"digit_size": 65}, r"digit_size: got 65; allowed: 8 to 64"),
        ({"correlation": 1.1}, r"correlation: got 1\.1; allowed: 0 to 1"),
        ({"brightness": -1}, r"brightness: got -1"),
        ({"test_size": -1}, r"test_size: got -1"),
        ({"classes": ((1, 2), (2, 3))}, r"two or more groups of digits 0 to 9, no digit twice"),
        ({"boxes": "round"}, r"boxes: got 'round'; allowed: tight, square"),
        ({"classes": ((1,), ())}, r"two or more groups"),
        ({"classes": ((1, 2, 3),)}, r"two or more groups"),
        ({"classes": ((1,), (10,))}, r"two or more groups"),
    ],
)
def test_options_are_checked(options, message, build):
    with pytest.raises(ValueError, match=message):
        build("digits_on_photos", **options)


def test_ten_classes_make_a_plain_digit_task(prepare):
    splits, _ = prepare("digits_on_photos", classes=tuple((digit,) for digit in range(10)), **SMALL)
    train = splits["train"]
    counts = np.bincount([labels[0] for labels in train["labels"]], minlength=10)
    assert counts.max() - counts.min() <= 1
    backgrounds = [group % 2 for group in train["group"]]
    agreeing = [background == labels[0] % 2 for background, labels in zip(backgrounds, train["labels"], strict=True)]
    assert sum(agreeing) == round(0.5 * len(train))


def test_square_boxes_hold_the_pasted_digit(prepare):
    square, _ = prepare("digits_on_photos", boxes="square", **SMALL)
    tight, _ = prepare("digits_on_photos", **SMALL)
    for one, other in zip(square["train"], tight["train"], strict=True):
        (x0, y0, x1, y1), (a0, b0, a1, b1) = one["objects"][0]["bbox"], other["objects"][0]["bbox"]
        assert (x1 - x0, y1 - y0) == (26, 26)
        assert x0 <= a0 < a1 <= x1
        assert y0 <= b0 < b1 <= y1
