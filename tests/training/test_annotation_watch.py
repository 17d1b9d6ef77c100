"""AnnotationWatch: which epochs are whole, and which terms count a row, whatever a step takes of the guidance."""

from dataclasses import dataclass

import pytest
import torch
from test_triples_training import LAYER, pairs_of, rows, trainer_of
from transformers import TrainerCallback

from hf_guidance import Guidance, Term, WeightSchedule
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import ContrastiveSOrT, RoleAnswerLoss
from hf_guidance.training import annotation_watch

TRIPLES = rows(8, alone=0)
PAIRS = pairs_of(TRIPLES)  # of which the contrast with irrelevant questions counts none
LATE = WeightSchedule(0.5, 0.5)
NOTHING = r"term 'sort' \(ContrastiveSOrT\) counted no row of a whole epoch"


def contrast(objective=ContrastiveSOrT, **options):
    return Guidance(task=RoleAnswerLoss(), sort=Term(objective(InputXGradient(LAYER)), **options))


def of_epochs(guidance, folder, data, epochs=2, **options):
    """Four steps an epoch, of rows in order."""
    options = {"max_steps": -1, "num_train_epochs": epochs, "per_device_train_batch_size": 2, **options}
    return trainer_of(guidance, folder, data, train_sampling_strategy="sequential", **options)


class StopsAt(TrainerCallback):
    """Ends the epoch, or the training, after a step."""

    def __init__(self, step, what):
        self.step, self.what = step, what

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            setattr(control, self.what, True)


@pytest.fixture
def said(monkeypatch):
    found = []
    monkeypatch.setattr(annotation_watch.logger, "warning_once", found.append)
    return found


UNGUIDED_STEPS = [{"schedule": LATE}, {"schedule": WeightSchedule()}, {"schedule": WeightSchedule(first=1.0, last=0.0)}]


@pytest.mark.parametrize("options", UNGUIDED_STEPS)
def test_a_schedule_changes_nothing_of_what_is_judged(options, tmp_path, said):
    assert of_epochs(contrast(**options), tmp_path, TRIPLES).train().global_step == 8
    assert said == []
    trainer = of_epochs(contrast(**options), tmp_path, PAIRS)
    with pytest.raises(ValueError, match=NOTHING):
        trainer.train()
    assert trainer.state.global_step == 4


def test_steps_that_are_not_guided_are_looked_at(tmp_path, said):
    """Of steps 0 to 3 the third alone has a triple, and guide_every=3 guides at 0 and 3."""
    data = [*PAIRS[:4], TRIPLES[4], *PAIRS[5:]]
    assert of_epochs(contrast(), tmp_path, data, guide_every=3).train().global_step == 8
    assert said == []
    with pytest.raises(ValueError, match=NOTHING):
        of_epochs(contrast(), tmp_path, PAIRS, guide_every=3).train()


CUT = {
    "callback": ({}, StopsAt(1, "should_training_stop")),
    "share of an epoch": ({"num_train_epochs": 0.25}, None),
    "max_steps": ({"max_steps": 1}, None),
    "within accumulation": ({"gradient_accumulation_steps": 2, "max_steps": 1}, None),
}


@pytest.mark.parametrize("case", CUT)
def test_an_epoch_that_was_cut_short_is_not_judged(case, tmp_path, said):
    """The triple is in the last batch."""
    options, callback = CUT[case]
    trainer = of_epochs(contrast(), tmp_path, [*PAIRS[:7], TRIPLES[7]], **options)
    if callback:
        trainer.add_callback(callback)
    assert trainer.train().global_step == 1
    assert len(said) == 1
    assert "term 'sort' (ContrastiveSOrT) counted no row so far" in said[0]


def test_a_stop_before_the_first_optimizer_step_is_not_judged(tmp_path, said):
    class Substep(TrainerCallback):
        def on_substep_end(self, args, state, control, **kwargs):
            control.should_training_stop = True

    trainer = of_epochs(contrast(), tmp_path, PAIRS, gradient_accumulation_steps=2)
    trainer.add_callback(Substep())
    assert trainer.train().global_step == 0
    assert len(said) == 1


@pytest.mark.parametrize(("data", "steps"), [([*PAIRS[:7], TRIPLES[7]], 5), (PAIRS, 5)], ids=["good", "bad"])
def test_after_an_epoch_that_was_ended_the_next_is_judged(data, steps, tmp_path, said):
    trainer = of_epochs(contrast(), tmp_path, data)
    trainer.add_callback(StopsAt(1, "should_epoch_stop"))
    if data is PAIRS:
        with pytest.raises(ValueError, match=NOTHING):
            trainer.train()
    else:
        trainer.train()
    assert trainer.state.global_step == steps  # one of the first epoch, four of the second
    assert said == []


@pytest.mark.parametrize("options", [{"epochs": 1}, {"max_steps": 4}, {"max_steps": 6}])
def test_an_epoch_that_ends_training_is_judged_where_it_is_whole(options, tmp_path):
    with pytest.raises(ValueError, match=NOTHING):
        of_epochs(contrast(), tmp_path, PAIRS, **options).train()


def test_rows_that_are_dropped_may_be_those_that_count(tmp_path, said):
    data = [*PAIRS[:6], TRIPLES[6]]
    assert of_epochs(contrast(), tmp_path, data, dataloader_drop_last=True).train().global_step == 6
    assert len(said) == 1


def test_a_term_without_weight_is_not_judged(tmp_path, said):
    assert of_epochs(contrast(weight=0.0), tmp_path, PAIRS).train().global_step == 8
    assert said == []


@dataclass(frozen=True)
class OfTheSure(ContrastiveSOrT):
    """Counts by what the model answers."""

    def rows(self, forward):
        return super().rows(forward) * (forward.logits().argmax(1)[forward.row] >= 0)


def test_rows_that_are_counted_by_the_logits_are_taken_to_count(tmp_path, said):
    trainer = of_epochs(contrast(OfTheSure), tmp_path, TRIPLES, epochs=1)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert of_epochs(contrast(OfTheSure), tmp_path, PAIRS, epochs=1).train().global_step == 4
    assert said == []
