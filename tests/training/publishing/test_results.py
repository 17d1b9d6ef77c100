"""Which evaluation a card tells of."""

import json

import pytest

from hf_guidance.training.publishing.annotations import RowsFacts
from hf_guidance.training.publishing.results import Evaluations, eval_results, measures, unguided_metrics

LOG = [
    {"eval_epg": 0.1, "eval_runtime": 1.0, "step": 0},
    {"loss": 2.0, "step": 5},
    {"eval_epg": 0.5, "eval_accuracy": 0.7, "eval_samples_per_second": 3.0, "epoch": 1, "step": 5},
    {"eval_epg": 0.4, "eval_accuracy": 0.8, "step": 9},
]


def test_times_and_other_entries_are_no_metrics():
    entry = {
        "eval_a": 1,
        "eval_runtime": 2,
        "eval_steps_per_second": 3,
        "loss": 4,
        "eval_ok": True,
        "eval_x": "text",
        "epoch": 1,
    }
    assert measures(entry) == {"eval_a": 1.0}


def test_unguided_may_be_metrics_or_a_run(tmp_path):
    assert unguided_metrics(None) == {}
    assert unguided_metrics({"epg": 0.2, "eval_accuracy": 0.5, "eval_runtime": 1}) == {
        "eval_epg": 0.2,
        "eval_accuracy": 0.5,
    }
    run = tmp_path / "run"
    (run / "checkpoint-9").mkdir(parents=True)
    state = run / "checkpoint-9" / "trainer_state.json"
    state.write_text(json.dumps({"log_history": LOG}))
    assert unguided_metrics(str(run)) == {"eval_epg": 0.4, "eval_accuracy": 0.8}
    state.write_text(json.dumps({"log_history": LOG, "best_global_step": 5}))
    assert unguided_metrics(run)["eval_accuracy"] == 0.7
    (run / "trainer_state.json").write_text(json.dumps({"log_history": LOG[:1]}))
    assert unguided_metrics(run) == {"eval_epg": 0.1}


def test_names_of_another_evaluation_stay_as_they_are():
    given = {"test_accuracy": 0.5, "epg": 0.2}
    assert unguided_metrics(given, ("test", "eval")) == {"test_accuracy": 0.5, "eval_epg": 0.2}
    assert unguided_metrics(given) == {"eval_test_accuracy": 0.5, "eval_epg": 0.2}


@pytest.mark.parametrize("given", [{"runtime": 1.0}, {}, "nowhere"])
def test_unguided_without_an_evaluation_is_refused(given, tmp_path):
    given = tmp_path / given if isinstance(given, str) else given
    with pytest.raises(ValueError, match=r"unguided=.* give "):
        unguided_metrics(given)


def test_a_broken_state_is_refused(tmp_path):
    (tmp_path / "trainer_state.json").write_text("{")
    with pytest.raises(ValueError, match=r"trainer_state\.json: this is not well-formed JSON"):
        unguided_metrics(tmp_path)


def test_before_is_what_was_measured_before_training_and_no_later():
    found, history = Evaluations(), []
    found.note("eval", {"eval_epg": 0.1, "eval_runtime": 2.0}, 0, "rows")
    found.training_begins(0, history)
    assert history == [{"eval_epg": 0.1, "epoch": 0.0, "step": 0}]
    assert (found.before, found.now) == ({"eval_epg": 0.1}, {})
    found.note("eval", {"eval_epg": 0.5}, 5, "rows")
    assert found.current(5) == {"eval_epg"}
    assert found.current(9) == set()
    again: list = []
    found.training_begins(0, again)
    assert again == []
    assert found.before == found.now == {}


def test_a_resumed_run_knows_both():
    found = Evaluations()
    found.training_begins(9, LOG)
    assert found.before == {"eval_epg": 0.1}
    assert found.now == {"eval_epg": (9, 0.4), "eval_accuracy": (9, 0.8)}


def test_the_best_model_has_the_metrics_of_its_step():
    found = Evaluations()
    found.training_begins(0, [])
    found.note("eval", {"eval_epg": 0.4}, 9, "rows")
    found.weights_are_of(5, LOG)
    assert found.now == {"eval_epg": (5, 0.5), "eval_accuracy": (5, 0.7)}
    assert found.current(9) == {"eval_epg", "eval_accuracy"}


def test_names_of_several_sets():
    found = Evaluations()
    for name in ("eval", "eval_far"):
        found.note(name, {f"{name}_epg": 0.5, f"{name}_loss/energy": 1.0, f"{name}_bad": float("nan")}, 0, name)
    facts = {"eval_far": RowsFacts("far", "org/far", "c", "test", 3), "eval": RowsFacts(None, None, None, None, 3)}
    results = eval_results({name: value for name, (_, value) in found.now.items()}, "image-classification", facts)
    assert [(r.dataset_type, r.dataset_name, r.dataset_split, r.metric_type, r.metric_value) for r in results] == [
        ("custom", "evaluation set", None, "epg", 0.5),
        ("org/far", "far", "test", "epg", 0.5),
    ]
