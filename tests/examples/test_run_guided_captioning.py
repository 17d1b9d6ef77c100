"""The script of captions end to end: from scratch, on from what it saved, and what it says to wrong options."""

import json

import numpy as np
import pytest
from scripts import run_script

from hf_guidance import Guidance
from hf_guidance.models import UpDnForImageCaptioning

SIZES = {"train_size": 48, "dev_size": 8, "test_id_size": 12, "test_ood_size": 12}
SCORES = {"cider", "bleu_4", "rouge_l", "chair_i", "chair_s", "object_recall", "plausibility", "loss"}


def run(folder, *options):
    fixed = ("--output_dir", str(folder), "--report_to", "none", "--use_cpu", "true", "--save_strategy", "no")
    drawn = ("--builder_config", json.dumps(SIZES), "--num_train_epochs", "1")
    run_script("run_guided_captioning", *fixed, *drawn, *options)
    return json.loads((folder / "results.json").read_text())


def test_it_trains_measures_saves_and_goes_on(tmp_path):
    results = run(tmp_path / "first", "--recipe", "task_only", "--learning_rate", "1e-2")
    for when in ("before", "after"):
        for split in ("test_id", "test_ood"):
            assert results[when][split].keys() >= SCORES
    assert results["after"]["test_id"]["loss"] < results["before"]["test_id"]["loss"]
    UpDnForImageCaptioning.from_pretrained(tmp_path / "first")
    few = ("--fraction", "0.25", "--recipe_options", '{"task": 1.0}', "--num_beams", "2", "--eval_splits", "test_id")
    on = run(tmp_path / "hint", "--model_name_or_path", str(tmp_path / "first"), *few)
    assert on["before"]["test_id"]["loss/task"] == pytest.approx(results["after"]["test_id"]["loss"], rel=1e-4)
    assert "hint" in Guidance.load(tmp_path / "hint")


@pytest.mark.parametrize(
    "options",
    [
        ("--recipe_options", '{"attention": true}'),
        ("--random_supervision", "true"),
        ("--visual_words", "circle, square"),
    ],
    ids=["attention", "random", "words"],
)
def test_other_arms(options, tmp_path):
    assert run(tmp_path, "--eval_splits", "test_id", *options)["after"]["test_id"].keys() >= SCORES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "hint"), r"--recipe hint is unknown; give one of hint_captions, task_only"),
        (("--recipe_options", '{"maps": 1}'), r"--recipe hint_captions with --recipe_options .*maps"),
        (("--guidance", "folder", "--recipe_options", '{"task": 1}'), "leave out one of them"),
        (("--model_name_or_path", "folder", "--model_config", '{"hidden_size": 8}'), "leave out one"),
        (("--model_config", '{"hidden_size": 0}'), "hidden_size=0"),
        (("--max_length", "0"), "max_length=0 leaves no token"),
        (("--min_count", "1000"), r"No word occurs min_count=1000 times in the captions; pass .* a lower min_count"),
        (("--visual_words", "circle,,square"), "the name '' has no word"),
        (("--fraction", "1.5"), "fraction"),
        (("--num_beams", "0"), "--num_beams 0 finds no caption; give 1"),
    ],
)
def test_bad_options_are_told(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, *options)
    assert not (tmp_path / "results.json").exists()


def without_features(tmp_path):
    """A data set of captions, and region features of its training image alone."""
    for split, image in (("train", "0"), ("validation", "1")):
        lines = [{"caption_id": f"{split}{n}", "image_id": image, "caption": "a red dog"} for n in range(2)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    regions = tmp_path / "regions"
    regions.mkdir()
    boxes = np.array([[0, 0, 20, 30], [20, 0, 40, 30]], np.float32)
    features = np.ones((2, 4), np.float32)
    np.savez(regions / "0.npz", x=features, bbox=boxes, num_bbox=2, image_h=30, image_w=40)
    fixed = ("--dataset", str(tmp_path), "--builder_config", "{}", "--eval_splits", "validation")
    return (*fixed, "--visual_words", "dog", "--recipe", "task_only", "--use_cpu", "true"), regions


def test_images_without_features_are_told_before_the_training(tmp_path):
    options, regions = without_features(tmp_path)
    out = ("--output_dir", str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"--regions is not given, and rows of .* hold no features; name the files"):
        run_script("run_guided_captioning", *options, *out)
    with pytest.raises(ValueError, match=r"validation: 1 of 1 images have no features in .*\(first: \['1'\]\)"):
        run_script("run_guided_captioning", *options, *out, "--regions", str(regions))
    with pytest.raises(ValueError, match="nowhere"):
        run_script("run_guided_captioning", *options, *out, "--regions", str(tmp_path / "nowhere"))
    assert not (tmp_path / "out" / "results.json").exists()
