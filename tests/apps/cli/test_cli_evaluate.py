"""hf-guidance evaluate: the figures are those of the training, whatever they are asked by; what does not fit is told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_cli import QUESTIONS, RESNET, SMALL

DIGITS = ["--dataset", "digits_on_photos", "--builder-config", json.dumps(SMALL), "--device", "cpu"]
QUESTIONED = ["--dataset", "shapes_vqa", "--builder_config", json.dumps(QUESTIONS), "--device", "cpu"]


def test_the_figures_are_those_at_the_end_of_the_training_as_a_process(copied, checkpoint, tmp_path):
    file = tmp_path / "out" / "results.json"
    ended = copied("evaluate", checkpoint, *DIGITS, "--batch-size", "3", "--json", "--output", file)
    assert ended.code == 0, ended.err
    results = json.loads(ended.out)
    assert json.loads(file.read_text()) == results
    assert results["attribution"] == {"layer": "final", "type": "GradCAM"}
    assert (results["split"], results["rows"]) == ("test", 8)
    trained = json.loads((checkpoint / "all_results.json").read_text())
    for name in ("accuracy", "worst_group_accuracy", "epg", "attribution_iou", "pointing_game"):
        assert results["metrics"][name] == pytest.approx(trained[f"after_{name}"], abs=1e-6)
    assert "\x1b" not in ended.err
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_attribution_layer_and_metrics_can_be_given(cli, checkpoint):
    words = ["--attribution", "InputXGradient", "--layer", "input", "--metrics", "epg", "--split", "train"]
    ended = cli("evaluate", checkpoint, *DIGITS, *words)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[:2] == [f"{checkpoint} on digits_on_photos, split train, 24 rows", "maps: InputXGradient at input"]
    assert not any(line.startswith("attribution_iou") for line in lines)
    other = cli("evaluate", checkpoint, *DIGITS, "--layer", "mid1", "--metrics", "epg", "--json")
    assert json.loads(other.out)["attribution"] == {"layer": "mid1", "type": "GradCAM"}


def test_without_guidance_only_the_task_is_measured_and_said_so(cli, checkpoint, tmp_path):
    plain = shutil.copytree(checkpoint, tmp_path / "plain")
    (plain / "guidance.json").unlink()
    ended = cli("evaluate", plain, *DIGITS, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["attribution"] is None
    assert "accuracy" in json.loads(ended.out)["metrics"]
    assert "epg" not in json.loads(ended.out)["metrics"]
    assert "no maps are measured" in ended.err
    assert cli("evaluate", plain, *DIGITS, "--layer", "final").code == 2
    assert cli("evaluate", plain, *DIGITS, "--metrics", "epg").code == 2


def test_questions_are_measured_as_in_training(cli, answering):
    ended = cli("evaluate", answering, *QUESTIONED, "--split", "test_ood", "--json")
    assert ended.code == 0, ended.err
    trained = json.loads((answering / "results.json").read_text())["after"]["test_ood"]
    found = json.loads(ended.out)["metrics"]
    assert found["vqa_accuracy"] == pytest.approx(trained["vqa_accuracy"])
    assert found["plausibility"] == pytest.approx(trained["plausibility"], abs=1e-5)
    other = cli("evaluate", answering, *QUESTIONED, "--split", "test_ood", "--attribution", "LeaveOneOut")
    assert "maps: LeaveOneOut at input" in other.out


def test_an_imagefolder_whose_labels_are_its_objects(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for split in ("train", "test"):
        lines = []
        for row, category in enumerate(([0, 1], [1], [])):
            place = tmp_path / "images" / split / f"{row}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(row).integers(0, 256, (32, 40, 3), np.uint8)).save(place)
            boxes = [[4 + 8 * index, 2, 12, 9] for index in range(len(category))]
            lines.append(json.dumps({"file_name": place.name, "objects": {"bbox": boxes, "category": category}}))
        (place.parent / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    data = ["--dataset", tmp_path / "images", "--bbox-format", "xywh"]
    training = [
        "--names",
        "cat",
        "dog",
        "--problem_type",
        "multi_label_classification",
        "--output_dir",
        tmp_path / "run",
    ]
    words = ["--model_config", json.dumps(RESNET), "--image_size", "32", "--num_train_epochs", "1", "--use_cpu", "true"]
    assert cli("train", *data, *training, *words, "--save_strategy", "no").code == 0
    ended = cli("evaluate", tmp_path / "run", *data, "--names", "cat,dog", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    trained = json.loads((tmp_path / "run" / "all_results.json").read_text())
    for name in ("f1", "map", "epg"):
        assert json.loads(ended.out)["metrics"][name] == pytest.approx(trained[f"after_{name}"], abs=1e-6)
    ended = cli("evaluate", tmp_path / "run", *data, "--names", "dog,cat")
    assert ended.code == 1
    assert "class 'dog' has the index 1" in ended.err


def test_predictions_on_edited_images_are_measured_beside_maps(cli, checkpoint):
    ended = cli("evaluate", checkpoint, *DIGITS, "--metrics", "epg,rrr", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["metrics"]
    assert all(0 <= found[name] <= 1 for name in ("epg", "rrr_suff", "rrr_unc", "rrr_inv"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--attribution", "GradCM"], 2, "Did you mean GradCAM"),
        (["--metrics", "egp"], 2, "Did you mean epg"),
        (["--problem-type", "several"], 2, "'several' is unknown"),
        (["--device", "tpu"], 2, "choose one of auto, cpu, cuda"),
        (["--split", "val"], 2, "has no split 'val'; it has ['test', 'train']"),
        (["--layer", "resnet.nothing"], 2, "is neither one of"),
        (["--source", "boxen"], 2, "source='boxen'"),
        (["--metrics", ""], 2, "there is no name in it"),
        (
            ["--metrics", "epg,group_accuracy"],
            2,
            "group_accuracy takes predictions and references and groups, which are no m",
        ),
        (["--metrics", "epg,plausibility"], 2, "plausibility takes predictions and references, which are no maps"),
        (["--metrics", "vqa_accuracy"], 2, "vqa_accuracy takes predictions and references, which are no maps"),
        (["--builder-config", "5"], 2, "'5' is JSON of another kind"),
        (["--regions", "x.h5"], 2, "it is for questions; leave it out"),
        (["--threshold", "0.85"], 2, "it is for questions; leave it out"),
        (["--revision", "main"], 2, "only repositories of the Hub have revisions"),
        (["--data-dir", "raw"], 2, "digits_on_photos reads no raw files, so data_dir='raw' would not be used"),
    ],
)
def test_what_does_not_exist_is_told(words, code, message, cli, checkpoint):
    ended = cli("evaluate", checkpoint, *DIGITS, *words)
    assert ended.code == code
    assert message in " ".join(ended.err.split())
    assert ended.out == ""


def test_an_output_that_cannot_be_written_is_told_before_anything_is_measured(cli, checkpoint, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output, message in ((tmp_path, "is a folder; name a file"), (tmp_path / "file" / "a.json", "is no folder")):
        ended = cli("evaluate", checkpoint, *DIGITS, "--output", output)
        assert ended.code == 2
        assert message in " ".join(ended.err.split())
        assert "evaluating" not in ended.err


@pytest.mark.parametrize(
    "words", [["--metrics", "epg"], ["--names", "a,b"], ["--problem-type", "x"], ["--bbox-format", "xyxy"]]
)
def test_options_of_images_are_refused_for_questions(words, cli, answering):
    ended = cli("evaluate", answering, *QUESTIONED, "--split", "test_ood", *words)
    assert ended.code == 2
    assert "it is for images; leave it out" in " ".join(ended.err.split())


def test_a_dataset_of_other_classes_is_refused(cli, checkpoint, tmp_path):
    config = json.dumps(SMALL | {"classes": [[0], [1], [2]]})
    ended = cli("evaluate", checkpoint, "--dataset", "digits_on_photos", "--builder-config", config)
    assert ended.code == 1
    assert "has 2 classes and the dataset 3" in ended.err
    turned = shutil.copytree(checkpoint, tmp_path / "turned")
    given = json.loads((turned / "config.json").read_text())
    given["id2label"] = {"0": given["id2label"]["1"], "1": given["id2label"]["0"]}
    given["label2id"] = {name: int(index) for index, name in given["id2label"].items()}
    (turned / "config.json").write_text(json.dumps(given))
    ended = cli("evaluate", turned, *DIGITS)
    assert ended.code == 1
    assert "bring the dataset's classes into the model's order" in ended.err


def test_a_model_that_is_not_there_is_told(cli, tmp_path):
    for name in (tmp_path / "nowhere", "no/such/id"):
        ended = cli("evaluate", name, *DIGITS)
        assert ended.code == 1
        assert "is no folder, and no Hub id" in ended.err
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "config.json").write_text("{}")
    assert f"give one of them, as {tmp_path / 'checkpoint-5'}" in cli("evaluate", tmp_path, *DIGITS).err
