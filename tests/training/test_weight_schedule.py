"""Term(schedule=WeightSchedule(...)): the weight goes in a line from one value to another while a model is trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hf_guidance import Guidance, GuidedTrainer, Term, WeightSchedule, with_annotated_fraction
from hf_guidance.attributions import InputXGradient
from hf_guidance.guidance.schedule import guidance_of_step
from hf_guidance.objectives import Energy, Sufficiency, TaskLoss

MAPS = InputXGradient(layer="input")
LATE, GROWING, FADING = WeightSchedule(0.5, 0.5), WeightSchedule(), WeightSchedule(0.25, 0.75, 1.0, 0.0)


def energy(schedule, weight=2.0):
    return Guidance(energy=Term(Energy(MAPS), weight, schedule=schedule))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_factor_is_a_line_between_two_values():
    random = np.random.default_rng(0)
    for _ in range(200):
        begin, end = sorted(random.random(2))
        first, last = 5 * random.random(2)
        schedule = WeightSchedule(begin, end, first, last)
        for progress in (0.0, begin, end, 1.0, *random.random(5)):
            expected = np.interp(progress, [begin, end], [first, last])
            assert schedule.factor(progress) == pytest.approx(expected, rel=1e-12)
    assert [LATE.factor(t) for t in (0.0, 0.49, 0.5, 1.0)] == [0, 0, 1, 1]
    assert WeightSchedule(0.0, 0.0).factor(0.0) == 1
    assert [FADING.factor(t) for t in (0, 0.25, 0.5, 0.75)] == [1, 1, 0.5, 0]


def test_a_step_has_the_terms_that_have_a_weight():
    guidance = Guidance(
        task=Term(TaskLoss(), 3.0, schedule=WeightSchedule(first=1.0, last=0.5)),
        energy=Term(Energy(MAPS), 2.0, schedule=LATE),
        sufficiency=Term(Sufficiency(), 4.0),
        unweighted=Term(Sufficiency(), 0.0),
    )
    first, middle = (guidance_of_step(guidance, 1, step, 10) for step in (0, 5))
    assert {name: term.weight for name, term in first.items()} == {"task": 3, "sufficiency": 4, "unweighted": 0}
    assert {n: t.weight for n, t in middle.items()} == {"task": 2.25, "energy": 2, "sufficiency": 4, "unweighted": 0}
    assert {n: t.weight for n, t in guidance_of_step(guidance, 5, 5, 10).items()} == {
        "task": 2.25, "energy": 10, "sufficiency": 20, "unweighted": 0,
    }  # fmt: skip
    assert guidance_of_step(guidance, 1, 7, 0) is guidance  # outside of a training


@pytest.mark.parametrize("schedule", [GROWING, FADING, WeightSchedule(0.1, 0.6, 0.5, 3.0)])
def test_the_gradient_of_a_step_is_that_of_its_weight(trainer_of, model_of, digits, schedule):
    rows = with_annotated_fraction(digits["train"], 0.4, seed=0)

    def gradient(guidance, step, steps):
        trainer = trainer_of(model_of("resnet").double(), guidance, rows=rows)
        trainer.model.train()
        batch = trainer.data_collator([rows[i] for i in range(8)])
        batch["pixel_values"] = batch["pixel_values"].double()
        trainer.state.global_step, trainer.state.max_steps, trainer.is_in_train = step, steps, True
        trainer.compute_loss(trainer.model, batch).backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])

    for step in (0, 3, 5, 7):
        weight = 2.0 * float(np.interp(step / 8, [schedule.begin, schedule.end], [schedule.first, schedule.last]))
        expected = gradient(energy(None, weight), step, 8)
        assert (gradient(energy(schedule), step, 8) - expected).norm() <= 1e-12 * expected.norm()


def test_steps_without_weight_are_plain_steps(trainer_of, model_of, monkeypatch):
    """The first half of the training differentiates nothing, and is that of an unguided trainer, bit by bit."""
    settings = {"max_steps": 6, "lr_scheduler_type": "constant", "save_strategy": "steps", "save_steps": 3}
    plain = trainer_of(model_of(), Guidance(), **settings | {"max_steps": 3})
    plain.train()
    trainer, differentiated, seen = trainer_of(model_of(), energy(LATE), **settings), [], []
    original, inner = torch.autograd.grad, trainer.training_step
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: differentiated.append(len(seen)) or original(*a, **k))
    trainer.training_step = lambda model, *a: seen.append(weights(model)) or inner(model, *a)
    trainer.train()
    assert set(differentiated) - {0} == {4, 5, 6}  # 0: before the first step
    assert torch.equal(seen[3], weights(plain.model))


def test_a_resumed_training_goes_on_where_it_stood(trainer_of, model_of, tmp_path):
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1}
    whole = trainer_of(model_of(), energy(GROWING), **settings)
    whole.train()
    again = trainer_of(model_of(), energy(GROWING), **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert torch.equal(weights(whole.model), weights(again.model))


def test_the_log_has_the_weights(trainer_of, model_of):
    trainer = trainer_of(model_of("vit"), energy(GROWING), max_steps=4, logging_steps=1)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry.get("weight/energy") for entry in logged] == [None, 0.5, 1.0, 1.5]
    assert ["loss/energy" in entry for entry in logged] == [False, True, True, True]
    for entry in logged[1:]:
        total = entry["loss/task"] + entry["weight/energy"] * entry["loss/energy"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
    joined = trainer_of(model_of("vit"), energy(GROWING), max_steps=4, logging_steps=4)
    joined.train()
    assert joined.state.log_history[0]["weight/energy"] == 1.0  # the mean of the steps that have the term


def test_evaluation_has_whole_weights(trainer_of, model_of):
    found = [trainer_of(model_of("vit"), energy(schedule)).evaluate()["eval_loss"] for schedule in (None, LATE)]
    assert found[0] == found[1]


@pytest.mark.parametrize("schedule", [FADING, LATE, WeightSchedule(first=0.5, last=3.0)])
def test_a_loop_after_a_training_has_whole_weights(trainer_of, model_of, digits, schedule):
    trainer = trainer_of(model_of("vit"), energy(schedule), max_steps=2)
    trainer.train()
    whole = trainer_of(trainer.model, energy(None))
    found = []
    for each in (trainer, whole):
        each.model.train()
        batch = each.data_collator([digits["train"][i] for i in range(8)])
        found.append(each.compute_loss(each.model, batch))
    assert trainer.state.max_steps == trainer.state.global_step == 2
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=0)


class Doubled(GuidedTrainer):
    def task_loss(self, forward):
        return 2 * super().task_loss(forward)


def test_the_task_of_a_trainer_keeps_its_schedule(trainer_of, model_of):
    """Beside energy at a tenth: loss = factor * task + 0.1 * energy, with task that of the trainer."""
    task = Term(TaskLoss(), 1.0, schedule=WeightSchedule(first=1.0, last=0.5))
    guidance = Guidance(energy(None, 0.1), task=task)
    trainer = trainer_of(model_of("vit"), guidance, cls=Doubled, max_steps=4, logging_steps=1)
    assert trainer.guidance["task"].schedule == task.schedule
    trainer.train()
    plain = trainer_of(model_of("vit"), guidance, max_steps=1, logging_steps=1)
    plain.train()
    logged, (single, *_) = ([e for e in one.state.log_history if "loss" in e] for one in (trainer, plain))
    assert [entry["weight/task"] for entry in logged] == [1.0, 0.875, 0.75, 0.625]
    assert logged[0]["loss/task"] == pytest.approx(2 * single["loss/task"], rel=1e-4)
    for entry in logged:
        total = entry["weight/task"] * entry["loss/task"] + 0.1 * entry["loss/energy"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)


def test_with_guide_every_the_log_has_k_times_the_weight(trainer_of, model_of):
    trainer = trainer_of(model_of("vit"), energy(GROWING), max_steps=6, logging_steps=1, guide_every=2)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    expected = [None, None, 2 * 2.0 * 2 / 6, None, 2 * 2.0 * 4 / 6, None]
    for entry, weight in zip(logged, expected, strict=True):
        assert entry.get("weight/energy") == (weight if weight is None else pytest.approx(weight, rel=1e-6))
        total = entry["loss/task"] + (weight or 0) * entry.get("loss/energy", 0)
        assert entry["loss"] == pytest.approx(total, rel=1e-4)


def test_files_and_cards_have_it(trainer_of, model_of, tmp_path):
    guidance = energy(WeightSchedule(end=0.2))
    assert json.loads(guidance.to_json())["energy"]["schedule"] == {"type": "WeightSchedule", "end": 0.2}
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance
    for schedule, text in (
        (WeightSchedule(end=0.2), "2, times 0 to 1 (0 % to 20 % of training)"),
        (LATE, "2, times 0 to 1 (after 50 % of training)"),
    ):
        trainer_of(model_of(), energy(schedule)).create_model_card()
        assert text in (tmp_path / "out" / "README.md").read_text()


def test_a_smoothed_task_keeps_its_schedule(trainer_of, model_of):
    guidance = Guidance(energy(None), task=Term(TaskLoss(), 1.0, schedule=GROWING))
    trainer = trainer_of(model_of(), guidance, label_smoothing_factor=0.1)
    assert trainer.guidance["task"].objective.label_smoothing == 0.1
    assert trainer.guidance["task"].schedule == GROWING


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"begin": 0.6, "end": 0.5}, r"0 <= begin <= end <= 1"),
        ({"end": 1.5}, r"0 <= begin <= end <= 1"),
        ({"begin": -0.1}, r"begin=-0\.1.*finite number >= 0"),
        ({"first": float("nan")}, "first=nan"),
        ({"last": "1"}, "last='1'"),
        ({"first": True}, "first=True"),
    ],
)
def test_what_is_no_schedule_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        WeightSchedule(**given)
    with pytest.raises(ValueError, match=r"energy|no number of JSON"):
        Guidance.from_dict({"energy": {"type": "Term", "objective": {"type": "Energy", "attribution": {"type": "GradCAM"}},
                                       "schedule": {"type": "WeightSchedule"} | given}})  # fmt: skip


def test_a_schedule_is_a_weight_schedule():
    for given in (0.5, "linear", {"end": 0.2}, WeightSchedule):
        with pytest.raises(ValueError, match=r"schedule=.*give a WeightSchedule"):
            Term(Energy(MAPS), schedule=given)


def test_compiled_steps_take_weights_that_stay_for_a_while(trainer_of, model_of):
    with pytest.raises(ValueError, match=r"schedule of the term 'energy'.*two graphs"):
        trainer_of(model_of("vit"), energy(GROWING), torch_compile_backend="eager")
    found = []
    for settings in ({}, {"torch_compile_backend": "eager"}):
        trainer = trainer_of(model_of("resnet"), energy(LATE), max_steps=6, **settings)
        trainer.train()
        found.append(weights(trainer.model))
    start = weights(model_of("resnet"))
    assert (found[1] - found[0]).norm() < 1e-4 * (found[0] - start).norm()
