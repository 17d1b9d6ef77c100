"""Subclasses with a loss of their own: task_loss is the hook, and an overridden compute_loss must keep the guidance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from pages import block_with

from hf_guidance import Guidance, GuidedTrainer, Term, with_annotated_fraction
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.objectives import AnswerLoss, Energy, TaskLoss

ENERGY = Guidance(energy=Term(Energy(InputXGradient("input")), weight=2.0))


@pytest.fixture
def subclass_of(trainer_of, model_of):
    """Make a trainer of a subclass for the digits."""
    return lambda cls, guidance=ENERGY, **settings: trainer_of(model_of(), guidance, cls=cls, **settings)


class Dropping(GuidedTrainer):
    """As plain Trainer's documentation shows it."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(pixel_values=inputs["pixel_values"])
        loss = F.cross_entropy(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class Stepping(GuidedTrainer):
    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = F.cross_entropy(model(pixel_values=inputs["pixel_values"]).logits, inputs["labels"])
        loss.backward()
        return loss.detach()


class Sometimes(Dropping):
    """Guidance begins after two steps: a loss without guidance all the same."""

    def compute_loss(self, *args, **kwargs):
        own = Dropping if self.state.global_step >= 2 else GuidedTrainer
        return own.compute_loss(self, *args, **kwargs)


@pytest.mark.parametrize("guidance", [ENERGY, Guidance()], ids=["guided", "unguided"])
@pytest.mark.parametrize(
    ("cls", "method", "steps"),
    [(Dropping, "compute_loss", 0), (Stepping, "training_step", 0), (Sometimes, "compute_loss", 2)],
)
def test_a_loss_without_the_guidance_ends_training_before_it_moves_a_weight(subclass_of, cls, method, steps, guidance):
    trainer = subclass_of(cls, guidance)
    before = torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])
    message = rf"no term of the guidance was in it: {cls.__name__} overrides \['{method}'\].*task_loss\(self, forward\)"
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert trainer.state.global_step == steps
    if not steps:
        assert torch.equal(before, torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))


def test_a_loss_without_the_guidance_is_not_evaluated(subclass_of):
    with pytest.raises(ValueError, match=r"Dropping overrides \['compute_loss'\]"):
        subclass_of(Dropping).evaluate()


class Predicting(GuidedTrainer):
    """As people write one for outputs of their own."""

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        with torch.no_grad():
            logits = model(pixel_values=inputs["pixel_values"]).logits
        return F.cross_entropy(logits, inputs["labels"]), logits, inputs["labels"]


class PredictingOnce(Predicting):
    """The first batch is measured, the others are not."""

    def prediction_step(self, *args, **kwargs):
        self.calls = getattr(self, "calls", 0) + 1
        own = GuidedTrainer if self.calls == 1 else Predicting
        return own.prediction_step(self, *args, **kwargs)


@pytest.mark.parametrize("cls", [Predicting, PredictingOnce])
@pytest.mark.parametrize("run", ["evaluate", "predict"])
def test_a_batch_that_is_evaluated_without_the_guidance_is_refused(subclass_of, digits, cls, run):
    message = (
        rf"GuidedTrainer.prediction_step.*{cls.__name__} overrides \['prediction_step'\].*super\(\).prediction_step"
    )
    metrics = classification_metrics("single_label_classification", group="group")
    for compute in (None, metrics):
        trainer = subclass_of(cls, trainer={"compute_metrics": compute})
        with pytest.raises(ValueError, match=message):
            getattr(trainer, run)(digits["test"])


class Doubling(GuidedTrainer):
    def prediction_step(self, *args, **kwargs):
        loss, logits, labels = super().prediction_step(*args, **kwargs)
        return loss, 2 * logits, labels


def test_a_step_that_changes_what_is_predicted_keeps_the_guidance(subclass_of, digits):
    plain, doubled = (subclass_of(cls).predict(digits["test"]) for cls in (GuidedTrainer, Doubling))
    assert doubled.predictions == pytest.approx(2 * plain.predictions)
    assert doubled.metrics["test_loss/energy"] == pytest.approx(plain.metrics["test_loss/energy"])


class Attributes(GuidedTrainer):
    """Reads the outputs as a plain Trainer's are read."""

    def compute_loss(self, *args, return_outputs=False, **kwargs):
        loss, outputs = super().compute_loss(*args, return_outputs=True, **kwargs)
        assert outputs.loss is loss is outputs["loss"] is outputs[0]
        assert outputs.logits is outputs["logits"] is outputs[1]
        loss = loss + outputs.logits.square().mean()
        return (loss, outputs) if return_outputs else loss


def test_outputs_are_read_by_attribute_too(subclass_of):
    trainer = subclass_of(Attributes, max_steps=1)
    assert trainer.train().global_step == 1
    assert trainer.evaluate()["eval_loss"] > subclass_of(GuidedTrainer, max_steps=1).evaluate()["eval_loss/task"]


class Adding(GuidedTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        loss = loss + 3.0
        return (loss, outputs) if return_outputs else loss


def test_what_a_subclass_adds_to_the_loss_is_in_it(subclass_of):
    trainer, plain = subclass_of(Adding, logging_steps=1), subclass_of(GuidedTrainer)
    expected, found = plain.evaluate(), trainer.evaluate()
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"] + 3, rel=1e-6)
    assert found["eval_loss/energy"] == pytest.approx(expected["eval_loss/energy"], rel=1e-6)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss/energy" in entry]
    assert len(entries) == 6
    for entry in entries:
        assert entry["loss"] == pytest.approx(3 + entry["loss/task"] + 2 * entry["loss/energy"], rel=1e-4)


def weighted(forward):
    weights = torch.tensor([1.0, 5.0])
    return F.cross_entropy(forward.logits(), forward.column("labels"), weight=weights, reduction="none")


class Weighted(GuidedTrainer):
    """Classes count differently, and what depends on pixels, as distillation would, is added to the guidance's own task."""

    def task_loss(self, forward):
        return super().task_loss(forward) + weighted(forward) + forward.column("pixel_values").mean((1, 2, 3))


def test_the_hook_gives_the_task_loss_of_every_image(subclass_of, digits):
    rows = with_annotated_fraction(digits["train"], 0.4, seed=0)  # annotated images and others run apart
    trainer = subclass_of(Weighted, rows=rows, frozen_batch_norm=True)
    rows = [rows[index] for index in range(8)]
    batch = trainer.data_collator(rows)
    assert 0 < sum(batch["annotated"]) < 8

    def expected(model):
        logits, labels, pixels = model(batch["pixel_values"]).logits, batch["labels"], batch["pixel_values"]
        weights = torch.tensor([1.0, 5.0])[labels]
        return ((1 + weights) * F.cross_entropy(logits, labels, reduction="none") + pixels.mean((1, 2, 3))).mean()

    trainer.model.train()
    trainer.compute_loss(trainer.model, batch)
    logged = trainer._train_log.pop(["loss/task", "loss/energy"], trainer.accelerator)
    assert logged["loss/task"] == pytest.approx(expected(trainer.model.eval()).item(), rel=1e-5)
    assert logged["loss/energy"] > 0
    measured = trainer.evaluate(rows)
    assert measured["eval_loss/task"] == pytest.approx(expected(trainer.model).item(), rel=1e-5)
    assert measured["eval_loss"] == pytest.approx(
        measured["eval_loss/task"] + 2 * measured["eval_loss/energy"], rel=1e-5
    )


def test_guidance_json_says_whose_loss_it_was(subclass_of, tmp_path):
    task = Term(AnswerLoss(), weight=0.5)
    trainer = subclass_of(Weighted, Guidance({**ENERGY, "task": task}))
    trainer.save_model(str(tmp_path / "saved"))
    read = Guidance.load(tmp_path / "saved")
    assert read.to_dict()["task"] == {
        "type": "Term", "weight": 0.5,
        "objective": {"type": "TrainerTask", "trainer": "Weighted", "given": {"type": "AnswerLoss"}},
    }  # fmt: skip
    again = subclass_of(Weighted, read)
    assert again.guidance.to_json() == trainer.guidance.to_json()
    assert again.evaluate()["eval_loss"] == trainer.evaluate()["eval_loss"]
    with pytest.raises(ValueError, match=r"the method Weighted.task_loss, which GuidedTrainer does not override"):
        subclass_of(GuidedTrainer, read)


class Mean(GuidedTrainer):
    def task_loss(self, forward):
        return F.cross_entropy(forward.logits(), forward.column("labels"))


class Helped(GuidedTrainer):
    def task_loss(self, forward):
        return self._doubled(forward)

    def _doubled(self, forward):
        return 2 * super().task_loss(forward)


class WithKeys(GuidedTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, out = super().compute_loss(model, inputs, return_outputs=True)
        out["extra"] = out["logits"] * 2
        return (loss, out) if return_outputs else loss


def test_outputs_may_get_keys(subclass_of):
    trainer = subclass_of(WithKeys)
    trainer.train()
    logits, extra = trainer.predict(trainer.eval_dataset).predictions
    assert (extra == 2 * logits).all()


def test_a_hook_that_returns_one_number_is_refused(subclass_of):
    message = r"Mean.task_loss returned Tensor of shape \(\); return one loss per image, \(8,\).*reduction='none'"
    with pytest.raises(ValueError, match=message):
        subclass_of(Mean).train()


def test_label_smoothing_with_a_hook_is_refused(subclass_of):
    with pytest.raises(ValueError, match=r"label_smoothing_factor=0.1 with the task TrainerTask"):
        subclass_of(Weighted, label_smoothing_factor=0.1)
    smooth = Guidance(task=TaskLoss(label_smoothing=0.1))
    for ignored in (smooth, Guidance(task=TaskLoss(class_weights=(1.0, 2.0)))):
        with pytest.raises(ValueError, match=r"would have no effect: Mean.task_loss computes the loss without it"):
            subclass_of(Mean, ignored)
        assert subclass_of(Helped, ignored).guidance["task"].objective.given == ignored["task"].objective
    assert subclass_of(Weighted, smooth).guidance["task"].objective.given == smooth["task"].objective


def test_the_examples_of_the_docs_run(subclass_of, model_of, digits):
    names = {**globals(), "GradCAM": GradCAM, "dataclass": dataclass}
    for text in ("class Distilling", "class FocalLoss"):
        exec(block_with("docs/from-trainer.md", text), names)
    torch.manual_seed(1)
    distilling = partial(names["Distilling"], teacher=model_of("convnext"))
    focal = subclass_of(GuidedTrainer, names["guidance"])
    assert focal.guidance["task"].objective == names["FocalLoss"]()
    forward = focal._forward(focal.model.eval(), focal.data_collator([digits["train"][0]]), TaskLoss().needs())
    share = torch.exp(-TaskLoss()(forward))
    assert torch.allclose(names["FocalLoss"]()(forward), -((1 - share) ** 2) * share.log())
    assert 0 < focal.evaluate()["eval_loss/task"] < subclass_of(GuidedTrainer).evaluate()["eval_loss/task"]
    trainer = subclass_of(distilling)
    assert trainer.evaluate()["eval_loss/task"] > subclass_of(GuidedTrainer).evaluate()["eval_loss/task"]
    assert trainer.train().global_step == 6
