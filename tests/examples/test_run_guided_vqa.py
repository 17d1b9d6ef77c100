"""The example script of questions end to end, resumed, and what it says to a wrong name."""

from __future__ import annotations

import json

import pytest
from scripts import run_script

from hf_guidance import Guidance, recipes
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.models import PythiaForQuestionAnswering, SANForQuestionAnswering, UpDnForQuestionAnswering


def run(folder, *options):
    small = json.dumps({"train_size": 64, "dev_size": 8, "test_id_size": 16, "test_ood_size": 16})
    fixed = ["--builder_config", small, "--output_dir", str(folder), "--report_to", "none", "--use_cpu", "true"]
    run_script("run_guided_vqa", *fixed, *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--recipe", "visfis", "--fraction", "0.5"],
        ["--model_type", "pythia", "--recipe", "visfis"],
        ["--model_type", "san", "--recipe", "visfis"],
        ["--model_type", "lxmert", "--recipe", "hint", "--max_length", "20"],
    ],
    ids=["updn", "pythia", "san", "lxmert"],
)
def test_it_trains_measures_and_saves(options, tmp_path):
    run(tmp_path, "--num_train_epochs", "1", "--save_strategy", "no", *options)
    results = json.loads((tmp_path / "results.json").read_text())
    for when in ("before", "after"):
        for split in ("test_id", "test_ood"):
            assert 0 <= results[when][split]["vqa_accuracy"] <= 1
            assert -1 <= results[when][split]["plausibility"] <= 1
    assert "task" in Guidance.load(tmp_path)
    classes = len(AnswerVocabulary.load(tmp_path / "answers.json"))
    if "lxmert" not in options:
        kinds = {"pythia": PythiaForQuestionAnswering, "san": SANForQuestionAnswering}
        kind = next((kinds[option] for option in options if option in kinds), UpDnForQuestionAnswering)
        assert kind.from_pretrained(tmp_path).config.num_labels == classes


@pytest.mark.parametrize(
    ("options", "size"), [((), 64), (("--model_type", "pythia", "--model_config", '{"question_adversary_size": 5}'), 5)]
)
def test_the_adversary_comes_with_its_recipe(options, size, tmp_path):
    recipe = ("--recipe", "adversarial_regularization", "--recipe_options", '{"adversary_weight": 0.5}')
    run(tmp_path, "--num_train_epochs", "1", "--save_strategy", "no", *recipe, *options)
    assert Guidance.load(tmp_path) == recipes.adversarial_regularization(adversary_weight=0.5)
    kind = PythiaForQuestionAnswering if "pythia" in options else UpDnForQuestionAnswering
    assert kind.from_pretrained(tmp_path).config.question_adversary_size == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model_type", "lxmert"), r"'lxmert' has no classifier.*choose updn, pythia or san, or another recipe"),
        (
            ("--model_config", '{"question_adversary_size": null}'),
            r'leave it out for 64, or .*"question_adversary_size": 64',
        ),
    ],
)
def test_a_model_without_adversary_is_refused_before_data_is_read(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "--recipe", "adversarial_regularization", "--dataset", "nowhere", *options)


def test_it_resumes(tmp_path):
    run(tmp_path, "--num_train_epochs", "2", "--max_steps", "8", "--save_steps", "8")
    run(tmp_path, "--num_train_epochs", "2", "--resume_from_checkpoint", str(tmp_path / "checkpoint-8"))
    assert (tmp_path / "checkpoint-16").is_dir()


def test_a_wrong_recipe_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"recipe='visfiss' is unknown.*'visfis'"):
        run(tmp_path, "--recipe", "visfiss")
