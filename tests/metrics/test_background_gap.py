"""background_gap against the challenge's own evaluation, and against input that would give a wrong number."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

CLASS_MAP = Path(__file__).parents[2].parent / "shared" / "data" / "backgrounds_challenge" / "in_to_in9.json"
BOTH = ["mixed_same", "mixed_rand"]


@pytest.mark.parametrize("case", range(3))
def test_matches_the_released_evaluation(load, golden, case):
    data = golden("in9_accuracy_bg_gap", "crayon_sort")
    part = {name: data[f"c{case}__{name}"] for name in ("imagenet1k_head", "bg_gap", *(f"{v}_acc" for v in BOTH))}
    columns = [(data[f"c{case}__{v}_pred_raw_argmax"], data[f"c{case}__{v}_y"]) for v in BOTH]
    metric = load("background_gap")
    for name, (predictions, references) in zip(BOTH, columns, strict=True):
        metric.add_batch(predictions=predictions, references=references, variant=[name] * len(references))
    if part["imagenet1k_head"] and not CLASS_MAP.exists():
        pytest.skip(f"the class map is absent: {CLASS_MAP.name} lies outside of this repository")
    class_map = json.loads(CLASS_MAP.read_text()) if part["imagenet1k_head"] else None
    result = metric.compute(class_map=class_map)
    assert list(result) == [*BOTH, "bg_gap"]
    for name in BOTH:
        assert result[name] == pytest.approx(100 * float(part[f"{name}_acc"]), abs=1e-9)
    assert result["bg_gap"] == pytest.approx(100 * float(part["bg_gap"]), abs=1e-9)


def test_variants_of_different_sizes_and_a_gap_below_zero(load):
    result = load("background_gap").compute(
        predictions=[0, 0, 0, 1], references=[0, 1, 1, 1], variant=["mixed_same"] * 3 + ["mixed_rand"]
    )
    assert result == {"mixed_same": pytest.approx(100 / 3), "mixed_rand": 100, "bg_gap": pytest.approx(-200 / 3)}


@pytest.mark.parametrize("make", [list, np.asarray, torch.tensor])
def test_kinds_of_columns(load, make):
    result = load("background_gap").compute(
        predictions=make([2, 1]), references=make([2, 0]), variant=np.asarray(BOTH), class_map=None
    )
    assert result == {"mixed_same": 100, "mixed_rand": 0, "bg_gap": 100}


@pytest.mark.parametrize(
    "class_map", [{"5": 0, "6": -1}, {5: 0, 6: -1}, [3, 3, 3, 3, 3, 0, -1], np.array([3] * 5 + [0, -1])]
)
def test_a_class_of_no_label_is_always_wrong(load, class_map):
    samples = {"predictions": [5, 6, 6, 5], "references": [0, 0, 0, 1], "variant": [BOTH[0], BOTH[0], BOTH[1], BOTH[1]]}
    assert load("background_gap").compute(**samples, class_map=class_map) == {
        "mixed_same": 50, "mixed_rand": 0, "bg_gap": 50,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"variant": ["mixed_same", "original"]},
            r"variant\[1\] is 'original'; allowed are 'mixed_same' and 'mixed_rand'",
        ),
        ({"variant": ["mixed_same", None]}, r"variant\[1\] is None"),
        ({"variant": "mixed_same"}, "pass one for every sample"),
        ({"variant": ["mixed_same"]}, "2 predictions, 2 references, 1 variant"),
        ({"variant": None}, r"\['variant'\] is missing"),
        ({"variant": ["mixed_same"] * 2}, "No sample is of variant 'mixed_rand'"),
        ({"references": [0, -1]}, r"references\[1\] is -1; allowed is an integer, at least 0"),
        ({"predictions": [0, 0.5]}, r"predictions\[1\] is 0.5; allowed is an integer"),
        ({"predictions": [[0.1, 0.9], [0.2, 0.8]]}, r"predictions\[0\] has shape \(2,\).*argmax"),
        ({"class_map": "in_to_in9.json"}, "class_map is 'in_to_in9.json'.*read it"),
        ({"class_map": {"dog": 0}}, "class_map has the key 'dog'"),
        ({"class_map": {"0": "dog", "1": 0}}, r"class_map\['0'\] is 'dog'"),
        ({"class_map": {"0": -2, "1": 0}}, r"class_map holds \{0: -2\}"),
        ({"class_map": {}}, r"class_map holds \{\}"),
        ({"class_map": {"0": 0}}, r"class_map lacks the predicted classes \[1\]"),
    ],
)
def test_bad_input_is_named(load, changed, message):
    with pytest.raises(ValueError, match=message):
        load("background_gap").compute(**({"predictions": [0, 1], "references": [0, 1], "variant": BOTH} | changed))


def test_a_bad_batch_and_a_bad_option_lose_nothing(load):
    metric = load("background_gap")
    with pytest.raises(ValueError, match="No sample was added"):
        metric.compute()
    metric.add(prediction=1, reference=1, variant="mixed_same")
    with pytest.raises(ValueError, match=r"variant\[2\]"):
        metric.add_batch(predictions=[0, 0], references=[0, 0], variant=["mixed_rand", "rand"])
    metric.add(prediction=1, reference=0, variant="mixed_rand")
    with pytest.raises(ValueError, match="class_map"):
        metric.compute(class_map={"one": 1})
    assert metric.compute() == {"mixed_same": 100, "mixed_rand": 0, "bg_gap": 100}
