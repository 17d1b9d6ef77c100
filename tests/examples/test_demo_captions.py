"""The demo of captions on few scenes, every arm of it."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_guidance.apps.trust_study import ComparisonFolder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ARMS = ("unguided", "hint", "hint_6", "attention_align", "hint_random")


@pytest.fixture
def demo(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    module = importlib.import_module("demo_captions")
    real = module.dataset_builder
    sizes = {"dev_size": 12, "test_id_size": 20, "test_ood_size": 20}
    monkeypatch.setattr(module, "dataset_builder", lambda *args, **options: real(*args, **sizes | options))
    monkeypatch.setattr(module, "draw_no_bars", lambda: None)
    return module


def test_every_arm_is_trained_and_measured(demo, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("caption_pictures.RATED", 6)
    (tmp_path / "out").mkdir()
    options = demo.DemoArguments(train_size=64, epochs=1, arm_epochs=1, output_dir=str(tmp_path / "out"))
    found = demo.one_seed(0, options)
    assert tuple(found) == ARMS
    for measured in found.values():
        assert set(measured) == set(demo.METRICS)
        assert all(np.isfinite(value) for value in measured.values())
    maps = {arm: measured["rank_correlation"] for arm, measured in found.items()}
    assert len(set(maps.values())) == len(ARMS), maps
    with Image.open(tmp_path / "out" / "words.png") as picture:
        assert picture.width > 800
        assert picture.height > 600
    assert ComparisonFolder(tmp_path / "out" / "trust").models == ("unguided", "hint")
    told = json.loads((tmp_path / "out" / "trust-ratings" / "preference.json").read_text())
    assert (told["ratings"], told["raters"]) == (30, 5)
    assert "by 5 simulated raters, no people" in capsys.readouterr().out


def test_the_scenes_that_people_see_are_those_of_the_test(demo, monkeypatch):
    pictures = importlib.import_module("caption_pictures")
    monkeypatch.setattr(pictures, "RATED", 4)
    shown, test = pictures.test_scenes(5), demo.load(5, demo.DemoArguments(train_size=1))["test_id"]
    for scene, row in zip(shown, test.select(range(len(shown))), strict=True):
        assert scene["image"].size == (128, 128)
        assert {name: scene[name] for name in row} == row


def test_settings_are_chosen_on_dev(demo, tmp_path):
    options = demo.DemoArguments(
        train_size=48, epochs=1, arm_epochs=1, test=False, arms="hint_6", output_dir=str(tmp_path)
    )
    (measured,) = demo.one_seed(0, options).values()
    assert "ood_cider" not in measured
    assert "rank_correlation" in measured
    assert not (tmp_path / "words.png").exists()


def test_arms_differ_by_what_they_are_told(demo):
    arms = demo.guidances(demo.DemoArguments(hint_weight=4.0))
    assert arms["hint"] == arms["hint_6"] != arms["hint_random"]
    assert arms["hint"]["task"].weight == pytest.approx(0.25)
    assert arms["attention_align"]["task"].weight == 1.0


def test_an_unknown_arm_is_told(demo):
    with pytest.raises(ValueError, match=r"--arms hints: hints is unknown"):
        demo.chosen_arms(demo.DemoArguments(arms="hints"))
