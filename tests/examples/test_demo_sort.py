"""The demo of SOrT on few questions, every arm of it."""

import importlib
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ARMS = ("pythia", "pythia_sub_questions", "squint", "sort_only_sub_questions", "sort", "sort_swapped")


@pytest.fixture
def demo(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    module = importlib.import_module("demo_sort")
    real = module.dataset_builder
    sizes = {"dev_size": 40, "test_id_size": 60, "test_ood_size": 60}
    monkeypatch.setattr(module, "dataset_builder", lambda *args, **options: real(*args, **options, **sizes))
    monkeypatch.setattr(module, "draw_no_bars", lambda: None)
    return module


def test_every_arm_is_trained_and_measured(demo):
    options = demo.DemoArguments(train_size=160, epochs=1)
    found = demo.one_seed(0, options)
    assert tuple(found) == (*ARMS, "overlap", "answer_named", "chance")
    assert 0.3 < found["chance"]["mp_at_1"] < 0.7
    assert set(found["overlap"]) == set(demo.RANKED) - {"wpr"}
    for measured in map(found.get, ARMS):
        assert set(measured) == set(demo.METRICS)
        defined = {name: value for name, value in measured.items() if "consistency" not in name or not np.isnan(value)}
        assert all(np.isfinite(value) for value in defined.values())
        assert all(0 <= value <= 1 for name, value in defined.items() if name not in ("wpr", "plausibility"))
    assert found["sort"] != found["sort_swapped"]
    assert found["sort"] != found["sort_only_sub_questions"]


def test_settings_are_chosen_on_dev(demo):
    options = demo.DemoArguments(train_size=80, epochs=1, test=False, arms="sort")
    measured = demo.one_seed(0, options)["sort"]
    assert "ood_consistency" not in measured
    assert "consistency" in measured


def test_weights_are_factors_of_the_papers(demo):
    one, ten = (demo.guidances(demo.DemoArguments(sort_weight=weight))["sort"] for weight in (1.0, 10.0))
    assert ten["sort"].weight == pytest.approx(10 * one["sort"].weight)
    assert ten["task"] == one["task"]


def test_arms_differ_by_one_term(demo):
    arms = demo.guidances(demo.DemoArguments())
    assert {arms[name]["task"] for name in ARMS[1:]} == {arms["sort"]["task"]}
    assert arms["sort"] == arms["sort_swapped"]


def test_an_unknown_arm_is_told(demo):
    with pytest.raises(ValueError, match=r"--arms sorted: sorted is unknown"):
        demo.chosen_arms(demo.DemoArguments(arms="sorted"))


def test_what_is_undefined_is_null(demo):
    found = demo.mean_and_std([0.5, float("nan")])
    assert found == {"mean": None, "std": None}
    assert demo.in_table(found) == "undefined"
    assert demo.mean_and_std([0.25, 0.75]) == {"mean": 0.5, "std": 0.25}
