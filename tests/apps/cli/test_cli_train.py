"""hf-guidance train: by options, by a file, by both; what it writes, and how it ends."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from tiny_cli import QUESTIONS, SMALL, TRAINING, config
from transformers import AutoModelForImageClassification

from hf_guidance import Guidance
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.apps.cli.tasks.resuming import checkpoint_of
from hf_guidance.apps.cli.train_options import training_options
from hf_guidance.common.yaml_file import options_text, read_options


def test_a_file_with_options_over_it_as_a_process(process, tmp_path):
    file = config(tmp_path, learning_rate="1e-3", seed=3, weight=0.5)
    file.write_text(file.read_text().replace("'1e-3'", "1e-3"))  # as people write it
    ended = process("train", "--config", file, "--seed", "4", "--weight=2", "--json")
    assert ended.code == 0, ended.err
    results = json.loads(ended.out)
    assert set(results["metrics"]["epg"]) == {"before", "after"}
    assert "runtime" not in results["metrics"]
    assert "\x1b" not in ended.err + ended.out
    assert "%|" not in ended.err  # bars are for terminals
    folder = tmp_path / "run"
    written = yaml.safe_load((folder / "train.yaml").read_text())
    assert written["task"] == "image-classification"
    assert (written["seed"], written["weight"], written["learning_rate"]) == (4, 2.0, 1e-3)
    assert written["builder_config"] == SMALL
    assert "warmup_steps" not in written  # it has its default
    assert Guidance.load(folder)["energy"].weight == 2
    AutoModelForImageClassification.from_pretrained(folder)
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set()


def test_what_is_written_gives_the_same_training(cli, checkpoint, tmp_path):
    ended = cli("train", "--config", checkpoint / "train.yaml", "--output_dir", tmp_path / "again", "--json")
    assert ended.code == 0, ended.err
    first = json.loads((checkpoint / "all_results.json").read_text())
    for name, values in json.loads(ended.out)["metrics"].items():
        assert values["after"] == first[f"after_{name}"]
    one, other = ((f / "train.yaml").read_text().splitlines() for f in (checkpoint, tmp_path / "again"))
    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    assert [line.partition(":")[0] for pair in differing for line in pair] == ["output_dir"] * 2


def test_questions_are_a_task(answering, cli):
    written = yaml.safe_load((answering / "train.yaml").read_text())
    assert (written["task"], written["recipe"]) == ("question-answering", "task_only")
    results = json.loads((answering / "results.json").read_text())
    assert 0 <= results["after"]["test_ood"]["vqa_accuracy"] <= 1
    log = json.loads((answering / "trainer_state.json").read_text())["log_history"]
    assert log[-1]["eval_test_ood_vqa_accuracy"] == results["after"]["test_ood"]["vqa_accuracy"]
    ended = cli("train", "--task", "question-answering", "--help")
    assert "--recipe TEXT" in ended.out
    assert "--objective " not in ended.out


def test_every_option_of_the_trainer_is_reachable(cli):
    from dataclasses import fields

    from hf_guidance import GuidanceArguments

    ended = cli("train", "--list-options")
    assert ended.code == 0
    shown = set(re.findall(r"--(\w+)", ended.out))
    assert {field.name for field in fields(GuidanceArguments) if field.init} <= shown
    assert {"objective", "dataset", "model_type"} <= shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", r"given.yaml: 'learning_rat' is no option of this training. Did you mean learning_rate"),
        ("learning_rate: much", "invalid float value: 'much'"),
        ("learning_rate: true", "invalid float value: 'true'"),
        ("seed: 1.5", "invalid int value: '1.5'"),
        ("seed:", "seed has no value; give one, or leave the line out"),
        ("seed: 1\nseed: 2", "'seed' is given twice"),
        ("task: image-clasification", "Did you mean image-classification"),
        ("attribution_options: '{steps: 8'", "is not JSON"),
        ("attribution_options: 5", "'5' is JSON of another kind; give names with values"),
        ("attribution_options: [1]", r"attribution_options is given \[1\]; it takes single values"),
        (
            "builder_config: {train_size: 1_000}",
            "1_000 may be meant otherwise: booleans are true and false, numbers are dec",
        ),
        ("builder_config: {flag: no}", "no may be meant otherwise"),
        ("seed: [1, 2]", r"seed is given \[1, 2\]; it takes single values"),
        ("dataset: {a: 1}", r"dataset is given \{'a': 1\}; it takes single values"),
        ("names: [[cat], dog]", r"names is given \['cat'\]; it takes single values"),
        ("learning_rate: 1:30", "invalid float value: '1:30'"),
        ("save_strategy: false", "invalid choice: 'false'"),
        ("run_name: 1.10", r"run_name takes text, and 1.1 is a number; put it into quotes"),
        ("names: [1.10]", r"names takes text, and 1.1 is a number; put it into quotes"),
        ("- seed", "give options with values"),
        ("a: [", "is no YAML that can be read"),
    ],
)
def test_a_file_that_is_wrong_is_told_before_anything_is_loaded(text, message, cli, tmp_path):
    (tmp_path / "given.yaml").write_text(text + "\n")
    ended = cli("train", "--config", tmp_path / "given.yaml", "--output_dir", tmp_path / "run")
    assert ended.code == 2, ended
    assert re.search(message, ended.err.replace("\n", " "))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objectiv", "Energy"], "'--objectiv' is no option of this training. Did you mean --objective"),
        (["runs/digits"], "'runs/digits' is no option"),
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["--task", "segmentation"], "'segmentation' is unknown"),
        (["--seed"], "expected one argument"),
        (["--builder_config", "5"], "'5' is JSON of another kind; give names with values"),
        (["--debug", "underflow_overflow"], "goes into a file: debug: [underflow_overflow]"),
    ],
)
def test_options_that_are_wrong_are_wrong_usage(words, message, cli):
    ended = cli("train", *words)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "Enery"], "unknown name 'Enery'"),
        (["--model_type", "resnett"], "did you mean resnet"),
        (["--model_config", '{"embeding_size": 8}'], "has no field 'embeding_size'; did you mean embedding_size"),
        (["--eval_split", "val"], "has no split 'val'"),
        (["--layer", "resnet.nothing"], "is neither one of"),
        (["--source", "boxen"], "source='boxen'"),
        (["--builder_config", '{"siez": 8}'], "unknown option siez"),
        (["--problem_type", "several"], "problem_type='several' is unknown"),
        (["--bbox_format", "yxyx"], "bbox_format='yxyx'"),
        (["--fraction", "7"], "fraction"),
        (["--objective_options", '{"nothing": 1}'], "has no field"),
        (["--load_best_model_at_end", "--eval_strategy", "epoch"], "--load_best_model_at_end requires"),
        (["--resume_from_checkpoint", "true"], "holds no checkpoint to go on from; leave the option out"),
        (["--resume_from_checkpoint", "nowhere"], "nowhere is no checkpoint of a training (no trainer_state.json)"),
    ],
)
def test_options_that_do_not_exist_are_wrong_usage_and_leave_nothing(words, message, cli, tmp_path):
    ended = cli(*TRAINING, "--output_dir", tmp_path / "run", *words)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "run" / "train.yaml").exists()


def test_a_control_of_rows_without_names_is_told_before_anything_is_measured(cli, tmp_path, monkeypatch):
    from hf_guidance.apps.cli.tasks.image_classification import training

    monkeypatch.setattr(training, "splits_named", lambda *given: splits_named(*given).remove_columns("image_id"))
    ended = cli(*TRAINING, "--output_dir", tmp_path / "run", "--control_seed", "1")
    assert ended.code == 2
    assert "the rows of digits_on_photos have no such column" in ended.err


@pytest.mark.parametrize("words", [["--recipe", "visfiss"], ["--recipe_options", '{"nothing": 1}'],
                                   ["--guidance", "here", "--recipe_options", '{"dataset": "gqa"}'], ["--source", "boxen"],
                                   ["--model_type", "updown"], ["--eval_splits", "val"]])  # fmt: skip
def test_options_of_questions_that_do_not_exist_are_wrong_usage(words, cli, tmp_path):
    data = ["--builder_config", json.dumps(QUESTIONS), "--use_cpu", "true", "--output_dir", tmp_path / "run"]
    ended = cli("train", "--task", "question-answering", *data, *words)
    assert ended.code == 2, ended.err
    assert not (tmp_path / "run" / "train.yaml").exists()


def test_raw_files_of_a_builder_that_reads_none_are_refused(cli, tmp_path):
    ended = cli(*TRAINING, "--output_dir", tmp_path / "run", "--data_dir", tmp_path)
    assert ended.code == 2
    assert "digits_on_photos reads no raw files, so data_dir=" in ended.err


@pytest.mark.parametrize(
    "words", [["--model_type", "vit"], ["--model_config", '{"depths": [1]}'], ["--image_size", "8"]]
)
def test_options_of_a_model_from_scratch_are_refused_for_a_checkpoint(words, cli, checkpoint, tmp_path):
    data = ["--builder_config", json.dumps(SMALL), "--use_cpu", "true", "--output_dir", tmp_path / "run"]
    ended = cli("train", "--model_name_or_path", checkpoint, *data, *words)
    assert ended.code == 2, ended.err
    assert f"{words[0]}: it is for models from scratch, and {checkpoint} is a checkpoint" in ended.err


def test_tokens_are_not_written(tmp_path):
    words = ["--hub_token", "hf_secret", "--output_dir", str(tmp_path), "--seed", "7"]
    options = training_options("image-classification", {}, "", words)
    assert "hf_secret" not in json.dumps(options.plain())
    assert options.plain()["seed"] == 7


def test_lists_and_names_of_a_file_are_those_of_the_command_line(tmp_path):
    given = {"names": ["cat", "dog"], "lr_scheduler_kwargs": {"num_cycles": 2}, "include_for_metrics": ["group"],
             "objective": "", "frozen_batch_norm": True, "report_to": ["tensorboard"], "save_strategy": "no",
             "do_train": False}  # fmt: skip
    options = training_options("image-classification", given, "x.yaml", ["--output_dir", str(tmp_path)])
    _, data, choice, args = options.objects()
    assert (data.names, choice.objective) == (["cat", "dog"], "")
    assert (args.lr_scheduler_kwargs, args.include_for_metrics) == ({"num_cycles": 2}, ["group"])
    assert (args.frozen_batch_norm, args.report_to) == (True, ["tensorboard"])
    assert (args.save_strategy, args.do_train) == ("no", False)
    again = training_options("image-classification", {k: v for k, v in options.plain().items() if k != "task"}, "", [])
    assert again.plain() == options.plain()


def test_a_file_is_read_as_the_words_of_a_command_line_are(tmp_path):
    text = "save_strategy: no\nuse_cpu: yes\nseed: 007\nrun_name: 0123\nlayer: on\nnames: [no, yes, 1:30, 2007]\n"
    (tmp_path / "given.yaml").write_text(
        text + "debug: [underflow_overflow]\nresume_from_checkpoint: false\nproject: 12\n"
    )
    options = training_options("image-classification", read_options(tmp_path / "given.yaml"), "given.yaml", [])
    _, data, choice, args = options.objects()
    assert (args.save_strategy, args.use_cpu, args.seed, args.run_name, args.project) == ("no", True, 7, "0123", "12")
    assert (choice.layer, data.names) == ("on", ["no", "yes", "1:30", "2007"])
    assert [option.value for option in args.debug] == ["underflow_overflow"]
    assert checkpoint_of(args) is None
    (tmp_path / "again.yaml").write_text(options_text(options.plain()))
    again = {name: value for name, value in read_options(tmp_path / "again.yaml").items() if name != "task"}
    assert training_options("image-classification", again, "again.yaml", []).plain() == options.plain()
