"""The script from the maps of a classifier to a corrected one, and the simulated annotators of the demo."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

from hf_guidance.apps.annotation import AnnotationFolder
from hf_guidance.models import load_pruned
from hf_guidance.models.shared.image_classifier import image_classifier

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROWS = 24
BUILDER = json.dumps(
    {"image_size": 32, "digit_size": 16, "train_size": ROWS, "validation_size": 0, "test_size": 8, "boxes": "square"}
)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def run(example, monkeypatch, tmp_path, capsys):
    """Calls the script, and returns what it printed."""
    fields = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
    model, processor = image_classifier(
        None, ["0-6-8", "1-4-7"], "single_label_classification", fields=fields, image_size=32
    )
    model.save_pretrained(tmp_path / "original")
    processor.save_pretrained(tmp_path / "original")

    def call(step, *options, out="out"):
        command = [
            "run_crayon.py", "--step", step, "--model_name_or_path", str(tmp_path / "original"),
            "--asked", str(tmp_path / "asked"), "--output_dir", str(tmp_path / out), "--builder_config", BUILDER,
            "--num_train_epochs", "1", "--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true",
            "--save_strategy", "no", *options,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", command)
        example("run_crayon").main()
        return capsys.readouterr().out

    return call


def written(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def test_from_maps_to_a_corrected_model(run, tmp_path):
    said = run("maps")
    assert f"{ROWS} maps of (4, 4)" in said
    maps, patches = (AnnotationFolder(tmp_path / "asked" / name) for name in ("ask_maps", "ask_patches"))
    assert len(maps) == ROWS
    words = ["yes", "no"] * (ROWS // 2)
    answers = ("--answers", written(tmp_path / "answers.json", words), "--alpha", "1", "--beta", "1")
    said = run("attention", *answers, "--number_of_answers", "10", out="attention")
    assert "14 unanswered" in said
    assert "before: " in said
    assert "'epg'" in said
    assert (tmp_path / "attention" / "guidance.json").is_file()
    votes = written(tmp_path / "votes.json", ["no"] + ["yes"] * (len(patches) - 1))
    said = run("pruning", "--patch_answers", votes, out="pruned")
    assert "of 12 channels pruned" in said
    load_pruned(tmp_path / "pruned")
    neurons = ("--neurons", written(tmp_path / "neurons.json", [True] * 10 + [False] * 2))
    said = run("both", *answers, *neurons, "--settings", "waterbirds", out="both")
    assert "2 of 12 channels pruned" in said
    assert load_pruned(tmp_path / "both").config.channel_mask["pruned"] == [10, 11]
    assert (tmp_path / "both" / "after_results.json").is_file()


@pytest.mark.parametrize(
    ("step", "options", "message"),
    [
        ("attention", [], "holds no maps"),
        ("pruning", [], "--step pruning reads --neurons"),
        ("pruning", ["--patch_answers", "none.json"], "patches.json"),
    ],
)
def test_what_is_missing_is_named(run, step, options, message):
    with pytest.raises((SystemExit, OSError), match=message):
        run(step, *options)


def test_a_simulated_annotator_says_where_the_energy_is(example):
    annotator = example("simulated_annotator")
    on, off = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
    on[0, 0] = off[1, 1] = 1
    box = (0.0, 0.0, 8.0, 8.0)
    rows = Dataset.from_list([{"image": Image.new("RGB", (32, 16)), "objects": [{"bbox": [0.0, 0.0, 16.0, 8.0]}]}] * 3)
    important = list(annotator.important_boxes(rows, 16))
    assert torch.equal(important[0], torch.nn.functional.pad(torch.ones(8, 8), (0, 8, 0, 8)))
    shares = annotator.energy_inside([on, off, 0 * on], important)
    assert shares[0] > 0.5 > shares[1]
    assert shares[2] == 0
    assert annotator.peak_inside([on, off, 0 * on], important).tolist() == [True, False, False]
    assert annotator.inside((4, 4, 12, 12), box) == 0.25
    assert annotator.inside((8, 8, 12, 12), box) == 0
    generator = np.random.default_rng(0)
    assert annotator.asked([True, False], 2, 0.0, generator) == ["yes", "no"]
    said = annotator.asked([True] * 4000, 2, 0.1, generator)
    assert [round(said.count(word) / 4000, 2) for word in ("yes", "no", "maybe")] == pytest.approx(
        [0.81, 0.01, 0.18], abs=0.02
    )
