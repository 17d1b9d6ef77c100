"""A search does not look for the worst trial: the direction of an objective that is a metric of this library."""

from __future__ import annotations

import logging

import pytest

from hf_guidance.training.search_objective import SearchObjective

METRICS = {
    "eval_loss": 0.75, "eval_loss/energy": 0.25, "eval_epg": 0.5, "eval_undefined_share/energy": 0.125, "epoch": 1.0,
    "eval_runtime": 3.5, "eval_samples_per_second": 7.25,
}  # fmt: skip
OWN = {"eval_loss/energy", "eval_epg", "eval_undefined_share/energy"}


def named(name):
    return lambda metrics: metrics[name]


@pytest.mark.parametrize(
    ("name", "right"),
    [("eval_loss", "minimize"), ("eval_loss/energy", "minimize"), ("eval_epg", "maximize"),
     ("eval_undefined_share/energy", "minimize")],
)  # fmt: skip
def test_the_direction_of_a_metric_is_known(name, right):
    wrong = {"minimize": "maximize", "maximize": "minimize"}[right]
    assert SearchObjective(named(name), right)(dict(METRICS)) == METRICS[name]
    with pytest.raises(ValueError, match=rf"direction='{wrong}' with the objective {name} .*Give direction='{right}'"):
        SearchObjective(named(name), wrong)(dict(METRICS))


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_is_not_a_metric_as_it_is_stays_the_users(direction):
    for own in (lambda m: -m["eval_loss"], lambda m: 1 - m["eval_epg"], lambda m: 3, named("epoch")):
        assert SearchObjective(own, direction)(dict(METRICS)) == own(METRICS)


def test_the_default_objective_is_that_of_trainer():
    assert SearchObjective(None, "minimize", left_out=OWN)(dict(METRICS)) == 0.75
    with pytest.raises(ValueError, match="direction='maximize' with the objective eval_loss would"):
        SearchObjective(None, "maximize", left_out=OWN)(dict(METRICS))
    scores = METRICS | {"eval_accuracy": 0.5, "eval_f1": 0.25}
    assert SearchObjective(None, "maximize", left_out=OWN)(scores) == 0.75
    with pytest.raises(ValueError, match=r"the sum of \['eval_accuracy', 'eval_f1'\] would"):
        SearchObjective(None, "minimize", left_out=OWN)(scores)
    assert SearchObjective(None, "minimize", left_out=OWN)(scores | {"eval_mine": 1.0}) == 1.75


def test_every_objective_has_its_direction():
    both = lambda metrics: (metrics["eval_loss/energy"], metrics["eval_epg"])  # noqa: E731
    assert SearchObjective(both, ["minimize", "maximize"])(dict(METRICS)) == (0.25, 0.5)
    with pytest.raises(ValueError, match="direction='minimize' with the objective eval_epg would"):
        SearchObjective(both, ["minimize", "minimize"])(dict(METRICS))


def test_names_of_evaluation_sets_are_seen_through():
    metrics = {"eval_birds_epg": 0.5}
    with pytest.raises(ValueError, match="the objective eval_birds_epg would"):
        SearchObjective(named("eval_birds_epg"), "minimize", ["birds"])(metrics)
    assert SearchObjective(named("eval_birds_epg"), "minimize")(metrics) == 0.5


def test_weights_that_differ_under_the_default_objective_are_told_once(caplog):
    caplog.set_level("WARNING")
    logging.getLogger("transformers").propagate = True
    drawn = iter([{"energy": 0.1}, {"energy": 0.1}, {"energy": 5.0}, {"energy": 7.0}])
    objective = SearchObjective(None, "minimize", left_out=OWN, weights=lambda: next(drawn))
    for number, told in enumerate([0, 0, 1, 1]):
        objective(dict(METRICS))
        assert caplog.text.count("small weights win whatever they do") == told, number
    assert "{'energy': 0.1}, {'energy': 5.0}" in caplog.text
    own = SearchObjective(named("eval_loss"), "minimize", weights=lambda: pytest.fail("the user's own is not judged"))
    own(dict(METRICS))
