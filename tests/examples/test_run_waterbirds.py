"""One training on a folder in the layout of Waterbirds, by every method, and what it writes."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageClassification, ConvNextImageProcessor, MobileNetV2Config

from hf_guidance import Guidance
from hf_guidance.models.shared.image_classifier import image_classifier

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROWS = 24  # of each split
BIRDS, PLACES = ("landbird", "waterbird"), ("land", "water")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noise with a bright box; y, place and split take every value."""
    root = tmp_path_factory.mktemp("waterbirds")
    (root / "images").mkdir()
    lines, boxes = ["img_id,img_filename,y,split,place"], []
    pixels = np.random.default_rng(0)
    for index in range(3 * ROWS):
        picture = pixels.integers(0, 128, (32, 40, 3)).astype(np.uint8)
        picture[8:20, 10:26] += np.uint8(100)
        Image.fromarray(picture).save(root / "images" / f"{index}.png")
        lines.append(f"{index + 1},images/{index}.png,{index % 2},{index // ROWS},{index // 2 % 2}")
        boxes.append(f"{index + 1} 10.0 8.0 16.0 12.0")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "bounding_boxes.txt").write_text("\n".join(boxes) + "\n")
    fields = {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    model, processor = image_classifier(None, ["a", "b"], "single_label_classification", fields=fields, image_size=64)
    model.save_pretrained(root / "backbone")
    processor.save_pretrained(root / "backbone")
    return root


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def run(example, folder, monkeypatch, tmp_path):
    """Calls the script, and returns its results."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def call(method, *options):
        command = [
            "run_waterbirds.py", "--data_dir", str(folder), "--method", method, "--output_dir", str(tmp_path / method),
            "--backbone", str(folder / "backbone"), "--epochs", "1", "--batch_size", "8", "--boxes", "0.5", *options,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", command)
        example("run_waterbirds").main()
        return json.loads((tmp_path / method / "results.json").read_text())

    return call


METHODS = (
    "erm", "erm_as_long", "energy", "energy_label", "energy_middle", "energy_input", "energy_layers", "l1", "rrr",
    "sufficiency", "uncertainty", "views", "energy_views", "l1_views", "box_energy", "crayon", "gradia", "jtt",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_measured(run, method):
    results = run(method, *(("--judge", "peak") if method in ("crayon", "gradia") else ()))
    assert results["method"] == method
    assert results["seed"] == 0
    for split in ("validation", "test"):
        measured = results[split]
        assert measured["rows"] == ROWS
        each = list(measured["groups"].values())
        assert len(each) == 4
        assert measured["worst_group_accuracy"] == pytest.approx(min(each))
        assert measured["mean_group_accuracy"] == pytest.approx(np.mean(each))
        shares = ("adjusted_accuracy", "epg_undefined_share", "rrr_suff", "rrr_unc", "rrr_inv")
        assert all(0 <= measured[name] <= 1 for name in shares)
        assert all(0 <= value <= 1 for value in measured["second"].values())
        assert set(measured["second"]) == {"epg", "epg_undefined_share", "rrr_suff", "rrr_unc", "rrr_inv"}


def test_all_methods_are_tried(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert tuple(importlib.import_module("waterbirds_methods").METHODS) == METHODS


def test_halves_are_drawn_by_id_and_have_no_row_in_common(example, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    script = example("run_waterbirds")
    options = [script.WaterbirdsArguments(str(folder), "erm", str(tmp_path), half=half) for half in script.HALVES]
    every, first, second = (set(script.read_rows(each)["validation"]["image_id"]) for each in options)
    assert first | second == every
    assert not first & second
    assert len(first) == len(second) == ROWS // 2


def test_answers_and_quadrants_are_of_the_same_rows(run, monkeypatch):
    """GRADIA's attention term counts rows that are annotated and answered."""
    seen = []
    original = Guidance.__call__
    monkeypatch.setattr(Guidance, "__call__", lambda *args: seen.append(original(*args)) or seen[-1])
    run("gradia", "--judge", "peak")
    assert any(float(parts.get("loss/gradia", 0)) > 0 for _, parts in seen)


@pytest.mark.parametrize(
    ("method", "option"),
    [("erm", ("--random_boxes", "true")), ("jtt", ("--weight", "2")), ("energy", ("--trained", "late")),
     ("l1", ("--replace", "blur")), ("erm", ("--judge", "peak")),
     ("crayon", ("--schedule", "late"))],
)  # fmt: skip
def test_options_without_a_meaning_are_refused(run, method, option):
    with pytest.raises(SystemExit, match=rf"error: {option[0]} .* has no meaning with --method {method}"):
        run(method, *option)


def test_random_boxes_and_the_reversed_task_are_other_trainings(run):
    one = run("sufficiency", "--weight", "5")
    moved = run("sufficiency", "--weight", "5", "--random_boxes", "true")
    assert one["validation"] != moved["validation"]
    whole = run("sufficiency", "--weight", "5", "--trained", "all")
    frozen = run("sufficiency", "--weight", "5", "--trained", "all", "--frozen_batch_norm", "true")
    assert one["validation"] != whole["validation"] != frozen["validation"]
    reverse = run("energy", "--task", "reversed")
    assert set(reverse["validation"]["groups"]) == set(one["validation"]["groups"])


def test_weights_follow_the_schedule(example):
    methods = example("waterbirds_methods")
    for name, at in {"constant": (1, 1, 1), "rising": (0, 0.25, 1), "late": (0, 0, 1), "falling": (1, 0.75, 0)}.items():
        guidance = methods.guidance_of(methods.METHODS["energy_views"], 3.0, "others", name)
        terms = [term for key, term in guidance.items() if key != "task"]
        for term in terms:
            factors = [term.schedule.factor(share) if term.schedule else 1 for share in (0, 0.25, 1)]
            assert factors == pytest.approx(at), name
        assert {round(term.weight, 6) for term in terms} == {3.0, 0.3}


@pytest.mark.parametrize("task", ["conventional", "reversed"])
def test_annotators_judge_by_what_guidance_by_boxes_is_told(example, folder, monkeypatch, tmp_path, task):
    """The answers are those about boxes, about all but the boxes where the place is the task, or about random boxes."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    script, annotator = example("run_waterbirds"), example("simulated_annotator")
    options = script.WaterbirdsArguments(
        str(folder), "crayon", str(tmp_path), backbone=str(folder / "backbone"), task=task
    )
    run = script.Run(options)
    rows = run.splits["train"].select(range(5))
    places = list(annotator.important_pixels(rows, run.collator(), batch_size=2))
    box = np.zeros((64, 64))
    box[16:40, 16:42] = 1  # x 10 to 26 of 40, y 8 to 20 of 32, on 64 x 64 pixels
    expected = box if task == "conventional" else 1 - box
    for place in places:
        assert np.abs(place.numpy() - expected).mean() < 0.02  # borders are smooth
    moved = list(annotator.important_pixels(rows, run.collator(moved=3)))
    assert all(abs(float(one.sum() - two.sum())) < 100 for one, two in zip(places, moved, strict=True))
    assert any(float((one - two).abs().sum()) > 200 for one, two in zip(places, moved, strict=True))


@pytest.mark.parametrize("method", ["crayon", "gradia"])
def test_answers_of_the_reversed_task_and_of_random_boxes_are_trained_with(run, method):
    one = run(method, "--judge", "peak", "--task", "reversed")
    assert set(one["validation"]["groups"]) == {f"{bird}_on_{place}" for bird in BIRDS for place in PLACES}
    run(method, "--judge", "peak", "--random_boxes", "true")


def test_resnet50_is_that_of_the_hub(example, folder, monkeypatch, tmp_path):
    script, asked = example("run_waterbirds"), []
    real = script.image_classifier
    local = str(folder / "backbone")
    monkeypatch.setattr(script, "image_classifier", lambda name, *args: asked.append(name) or real(local, *args))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    run = script.Run(script.WaterbirdsArguments(str(folder), "erm", str(tmp_path), backbone="resnet50"))
    assert asked == ["microsoft/resnet-50"]
    trained = [name for name, parameter in run.model.named_parameters() if parameter.requires_grad]
    assert trained == ["classifier.1.weight", "classifier.1.bias"]


@pytest.mark.parametrize(
    "option", [("--epochs", "0"), ("--learning_rate", "0"), ("--weight_decay", "-1"), ("--batch_size", "-2")]
)
def test_numbers_out_of_range_are_refused(run, option):
    with pytest.raises(SystemExit, match=rf"error: {option[0]} .*give a number"):
        run("erm", *option)


def test_who_chooses_settings_does_not_see_the_test_rows(run):
    results = run("erm", "--half", "first")
    assert "test" not in results
    assert results["validation"]["rows"] == ROWS // 2


def test_what_replaces_the_place_makes_another_training(run):
    found = {fill: run("views", "--replace", fill)["validation"] for fill in ("others", "blur", "grey", "marginal")}
    assert len({json.dumps(each) for each in found.values()}) == 4


def test_the_label_has_a_map_of_its_own(run):
    """EPG and dead maps under "second" are those of Grad-CAM of the label, whatever the decision."""
    measured = run("erm", "--learning_rate", "0.5")["validation"]
    assert measured["second"]["epg"] != measured["epg"]


def test_a_folder_without_a_split_and_one_that_cannot_be_written_are_told(run, folder, tmp_path):
    empty = tmp_path / "train_only"
    empty.mkdir()
    (empty / "images").symlink_to(folder / "images")
    (empty / "bounding_boxes.txt").write_text((folder / "bounding_boxes.txt").read_text())
    lines = (folder / "metadata.csv").read_text().splitlines()
    (empty / "metadata.csv").write_text("\n".join([lines[0], *lines[1 : ROWS + 1]]) + "\n")
    with pytest.raises(SystemExit, match=r"error: --data_dir .* no rows of validation"):
        run("erm", "--data_dir", str(empty))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"error: .*file"):
        run("erm", "--output_dir", str(tmp_path / "file"))


def test_groups_without_a_row_are_told(run, folder, tmp_path, capsys):
    some = tmp_path / "three_groups"
    some.mkdir()
    (some / "images").symlink_to(folder / "images")
    (some / "bounding_boxes.txt").write_text((folder / "bounding_boxes.txt").read_text())
    lines = (folder / "metadata.csv").read_text().splitlines()
    kept = [line for line in lines if not (line.split(",")[3] == "1" and line.split(",")[2::2] == ["1", "0"])]
    assert len(kept) < len(lines)
    (some / "metadata.csv").write_text("\n".join(kept) + "\n")
    assert len(run("erm", "--data_dir", str(some))["validation"]["groups"]) == 3
    assert "no validation row is of waterbird_on_land" in capsys.readouterr().err


def test_annotators_see_images_of_a_processor_that_crops(run, folder, tmp_path):
    """ResNet's processor resizes the shortest edge and crops."""
    local = tmp_path / "cropping"
    model = AutoModelForImageClassification.from_pretrained(folder / "backbone")
    model.save_pretrained(local)
    ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875).save_pretrained(local)
    results = run("crayon", "--backbone", str(local), "--judge", "peak")
    assert results["validation"]["rows"] == ROWS


def test_a_head_behind_dropout_is_trained_alone(run, tmp_path):
    local = tmp_path / "dropout"
    config = MobileNetV2Config(num_labels=2, classifier_dropout_prob=0.2, depth_multiplier=0.35)
    AutoModelForImageClassification.from_config(config).save_pretrained(local)
    ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=1.0).save_pretrained(local)
    assert run("energy", "--backbone", str(local))["method"] == "energy"


def test_an_unknown_folder_ends_with_a_message(run, folder, tmp_path):
    with pytest.raises(SystemExit, match=r"error: .*metadata\.csv"):
        run("erm", "--data_dir", str(tmp_path / "nowhere"))
