"""Class maps against the one of the backgrounds challenge, and against files that would map wrongly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_guidance.data import mapped_classes, read_class_map

CLASS_MAP = Path(__file__).parents[3].parent / "shared" / "data" / "backgrounds_challenge" / "in_to_in9.json"
SIZES = [116, 52, 42, 36, 35, 27, 26, 20, 16]  # classes of ImageNet in each of the nine


def test_the_map_of_the_backgrounds_challenge():
    if not CLASS_MAP.exists():
        pytest.skip(f"no {CLASS_MAP.name}: it lies outside of this repository")
    found = read_class_map(CLASS_MAP)
    assert len(found) == 1000
    assert [found.count(label) for label in range(9)] == SIZES
    assert found.count(-1) == 630
    assert mapped_classes([0, 207, 999], found).tolist() == [8, 0, -1]  # tench, golden retriever, toilet paper


@pytest.mark.parametrize("make", [list, np.asarray, torch.tensor, lambda values: np.asarray(values, np.uint8)])
def test_predictions_of_any_kind(make):
    found = mapped_classes(make([2, 0, 2]), [-1, 8, 3])
    assert found.dtype == np.int64
    assert found.tolist() == [3, -1, 3]


def test_shapes_are_kept():
    assert mapped_classes(np.ones((2, 3), int), [0, 4]).tolist() == [[4] * 3] * 2
    assert mapped_classes([], [0, 4]).shape == (0,)
    assert mapped_classes(1, [0, 4]) == 4


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([0.5], "predictions are float64; allowed: whole numbers. Take the argmax"),
        ([True], "predictions are bool"),
        (["dog"], "allowed: whole numbers"),
        ([0, 2], "predictions reach from 0 to 2; allowed: 0 to 1"),
        ([-1, 0], "predictions reach from -1 to 0"),
    ],
)
def test_bad_predictions(predictions, message):
    with pytest.raises(ValueError, match=message):
        mapped_classes(predictions, [0, 4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[0, 1]", r"it holds \[0, 1\]; allowed: an object"),
        ("{}", "allowed: an object"),
        ('{"0": 1, "2": 1}', "it has 2 keys, but class '1' is not among them"),
        ('{"0": 1, "01": 1}', "class '1' is not among them"),
        ('{"0": 1, "0": 2}', "the key '0' is there twice"),
        ('{"0": 1, "1": -2}', "class '1' is mapped to -2; allowed: a whole number, 0 or more, or -1"),
        ('{"0": 1.0}', "class '0' is mapped to 1.0"),
        ('{"0": true}', "class '0' is mapped to True"),
        ('{"0": "dog"}', "class '0' is mapped to 'dog'"),
        ('{"0": 1, "1":', "not well-formed JSON"),
    ],
)
def test_bad_files(text, message, tmp_path):
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_class_map(path)
    assert str(path) in str(error.value)


def test_a_map_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"1": 4, "0": -1, "2": 0}))
    assert read_class_map(path) == [-1, 4, 0]
