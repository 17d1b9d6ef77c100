"""What is read of a run's folder, and how damage is told."""

from __future__ import annotations

import json
import math

import pytest
from run_folders import ENERGY, TASK, facts_of, log_of, state_of, write_front, write_panels, write_run

from hf_guidance.apps.report import Run, files


def test_all_that_a_run_leaves(tmp_path):
    write_run(tmp_path, 0.8, 0.6, facts_of(seed=4))
    write_panels(tmp_path)
    write_front(tmp_path)
    run = Run.read(tmp_path)
    assert run.metrics == {
        "eval_accuracy": 0.8, "eval_epg": 0.6, "eval_loss": 0.4, "eval_epg_undefined_share": 0.25,
    }  # fmt: skip
    assert (run.kind, run.seed, run.share, run.rows, run.control) == ("guided", 4, 0.1, 1000, False)
    assert list(run.panels) == [0, 20]
    assert len(run.front["points"]) == 3
    assert run.settings["learning_rate"] == 1e-3
    assert run.history[0]["loss/energy"] == 0.1


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (facts_of(TASK), "unguided"),
        (facts_of(ENERGY), "guided"),
        (facts_of(ENERGY, control_seed=0), "control"),
        (facts_of(TASK, control_seed=0), "unguided"),
        (facts_of({**ENERGY, "energy": {**ENERGY["energy"], "importance": "random_importance"}}), "control"),
        (None, "unknown"),
    ],
)
def test_the_kind_of_a_run(tmp_path, facts, kind):
    assert Run.read(write_run(tmp_path, facts=facts)).kind == kind


def test_the_state_with_most_steps_is_read(tmp_path):
    write_run(tmp_path / "checkpoint-20", 0.9)
    write_run(tmp_path / "checkpoint-9", 0.1, history=log_of(0.1, 0.1, steps=(9,)))
    assert Run.read(tmp_path).metrics["eval_accuracy"] == 0.9
    write_run(tmp_path, 0.7, history=log_of(0.7, 0.1, steps=(10,)))  # left by an earlier part of the run
    assert Run.read(tmp_path).metrics["eval_accuracy"] == 0.9
    write_run(tmp_path, 0.6)
    assert Run.read(tmp_path).metrics["eval_accuracy"] == 0.6
    assert Run.read(tmp_path / "checkpoint-9").metrics["eval_accuracy"] == 0.1


def test_guidance_of_a_checkpoint_where_the_state_has_none(tmp_path):
    write_run(tmp_path / "checkpoint-20")
    (tmp_path / "checkpoint-20" / "guidance.json").write_text(json.dumps(ENERGY))
    run = Run.read(tmp_path)
    assert run.guidance == ENERGY
    assert run.kind == "guided"
    assert run.seed is None is run.share


def test_metrics_of_the_best_model_where_it_was_loaded(tmp_path):
    best = {"best_global_step": 10}
    assert Run.read(write_run(tmp_path / "last", facts=facts_of(), **best)).metrics["eval_accuracy"] == 0.8
    loaded = facts_of(load_best_model_at_end=True)
    assert Run.read(write_run(tmp_path / "best", facts=loaded, **best)).metrics["eval_accuracy"] == 0.5


def test_what_is_undefined_is_nan(tmp_path):
    history = [{"step": 1, "eval_epg": None, "eval_accuracy": math.nan, "eval_name": "x", "eval_flag": True}]
    run = Run.read(write_run(tmp_path, history=history))
    assert set(run.metrics) == {"eval_epg", "eval_accuracy"}
    assert all(map(math.isnan, run.metrics.values()))


def test_panels_alone_are_a_run(tmp_path):
    write_panels(tmp_path)
    assert Run.read(tmp_path).kind == "unknown"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"trainer_state.json cannot be read \(Expecting .*\); leave the run out, or restore the file"),
        ("[]", "holds list, where dict is meant"),
        ('{"log_history": 3}', "log_history is no list of entries"),
        ('{"log_history": [3]}', "log_history is no list of entries"),
        ('{"stateful_callbacks": {"RunFacts": [1]}}', "its RunFacts are no names with values"),
        (json.dumps(state_of([], {"guidance": [1]})), "the guidance of its RunFacts is no object"),
        ('{"a":' + "[" * 200_000 + "]" * 200_000 + "}", "cannot be read"),
        ('{"a":' + "[" * 100 + "]" * 100 + "}", "nested more than 64 deep"),
        ("\x80", "cannot be read"),
    ],
)  # fmt: skip
def test_damage_names_the_file_and_the_fix(tmp_path, content, message):
    (tmp_path / "trainer_state.json").write_text(content, encoding="latin1")
    with pytest.raises(ValueError, match=message) as raised:
        Run.read(tmp_path)
    assert str(tmp_path / "trainer_state.json") in str(raised.value)


def test_files_are_of_bounded_size(tmp_path, monkeypatch):
    write_run(tmp_path)
    (tmp_path / "guidance.json").write_text(json.dumps(ENERGY) + " " * (1 << 20))
    with pytest.raises(ValueError, match=r"guidance.json cannot be read \(it has \d+ bytes, more than the 1048576"):
        Run.read(tmp_path)


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_a_run(tmp_path, made):
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    with pytest.raises(ValueError, match=r"none holds no run: it has no trainer_state.json .* give an output_dir"):
        Run.read(folder)


def test_pictures_that_cannot_be_shown_say_why(tmp_path, monkeypatch):
    write_panels(tmp_path)
    good = tmp_path / "panels" / "step-000000.png"
    assert files.read_picture(good).uri.startswith("data:image/png;base64,")
    assert files.read_picture(good).size == (40, 20)
    (tmp_path / "text.png").write_text("<svg onload=alert(1)>")
    assert files.read_picture(tmp_path / "text.png").why == "it is no PNG"
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:40])
    assert files.read_picture(tmp_path / "cut.png").why.startswith("it is damaged")
    monkeypatch.setattr(files, "MOST_PICTURE", 10)
    assert "more than the" in files.read_picture(good).why


@pytest.mark.parametrize(
    "content",
    [
        {"metrics": ["a"], "bins": None, "points": [["step", "a"]], "members": []},
        {"metrics": [], "bins": None, "points": [], "members": []},
        {"metrics": "a", "bins": None, "points": [], "members": []},
        {"points": 3},
    ],
)
def test_a_front_that_is_none(tmp_path, content):
    write_run(tmp_path)
    (tmp_path / "pareto").mkdir()
    (tmp_path / "pareto" / "pareto.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"pareto.json holds no points of metrics; remove it"):
        Run.read(tmp_path)


def test_steps_are_decimal_numbers(tmp_path):
    write_panels(tmp_path / "run", steps=(7,))
    picture = tmp_path / "run/panels/step-000007.png"
    (picture.parent / "step-\u00b20.png").write_bytes(picture.read_bytes())  # a superscript is a digit, but no number
    assert list(Run.read(tmp_path / "run").panels) == [7]
