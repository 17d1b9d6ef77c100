"""guide_every=k: terms at every k-th optimizer step with k times the weight, plain steps between."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainerCallback
from transformers.hf_argparser import HfArgumentParser

from hf_guidance import Guidance, GuidanceArguments, Term, with_annotated_fraction
from hf_guidance.attributions import InputXGradient
from hf_guidance.guidance.schedule import guidance_of_step
from hf_guidance.objectives import Energy, Sufficiency
from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.run_facts import facts_of

ENERGY = Guidance(energy=Term(Energy(InputXGradient(layer="input")), weight=2.0))
TWO = Guidance(energy=Term(Energy(InputXGradient("final")), 0.5, "rows"), sufficiency=Term(Sufficiency(), 0.25, "sum"))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(trainer, batch, step):
    """Loss and parameter gradients of one step, on weights that stay as they are."""
    trainer.state.global_step = step
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


@pytest.fixture
def in_double(trainer_of, model_of, digits):
    """A trainer in float64 with a batch of which some rows are annotated."""

    def make(kind, guidance, **settings):
        rows = with_annotated_fraction(digits["train"], 0.4, seed=0)
        trainer = trainer_of(model_of(kind).double(), guidance, rows=rows, **settings)
        trainer.model.train()
        batch = trainer.data_collator([rows[i] for i in range(8)])
        batch["pixel_values"] = batch["pixel_values"].double()
        assert 0 < sum(batch["annotated"]) < 8
        return trainer, batch

    return make


@pytest.mark.parametrize("guidance", [ENERGY, TWO], ids=["one term", "two terms"])
@pytest.mark.parametrize("kind", ["convnext", "resnet"])  # a ViT of transformers has its softmax in float32
@pytest.mark.parametrize("every", [2, 3])
def test_the_mean_over_k_steps_is_the_gradient_of_every_step(in_double, kind, guidance, every):
    trainer, batch = in_double(kind, guidance)
    loss, wanted = gradient(trainer, batch, step=0)
    trainer, batch = in_double(kind, guidance, guide_every=every)
    found = [gradient(trainer, batch, step) for step in range(every)]
    assert sum(value for value, _ in found) / every == pytest.approx(loss, rel=1e-12)
    mean = torch.stack([each for _, each in found]).mean(0)
    assert (mean - wanted).norm() <= 1e-12 * wanted.norm()
    assert (found[0][1] - wanted).norm() > 1e-3 * wanted.norm()


def test_a_plain_step_differentiates_nothing_and_has_the_loss_of_the_task(in_double, monkeypatch):
    trainer, batch = in_double("vit", ENERGY, guide_every=2)
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: pytest.fail("differentiated in a plain step"))
    calls = []
    trainer.model.register_forward_hook(lambda *_: calls.append(1))
    loss, found = gradient(trainer, batch, step=1)
    assert calls == [1]
    trainer.model.zero_grad()
    plain = trainer.model(batch["pixel_values"], labels=batch["labels"]).loss
    plain.backward()
    assert loss == pytest.approx(plain.item(), rel=1e-12)
    wanted = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert (found - wanted).norm() <= 1e-12 * wanted.norm()


def test_one_is_the_guidance_itself():
    assert [guidance_of_step(ENERGY, 1, step, 10) is ENERGY for step in range(3)] == [True] * 3
    parts = [guidance_of_step(TWO, 4, step, 8) for step in range(8)]
    assert [list(part) for part in parts] == [list(TWO), *[["task"]] * 3] * 2
    assert [term.weight for term in parts[4].values()] == [1, 2, 1]
    assert [term.reduction for term in parts[4].values()] == [term.reduction for term in TWO.values()]
    assert [term.weight for term in TWO.values()] == [1, 0.5, 0.25]


class Counting(Guidance):
    """A loss of one's own."""

    def __call__(self, annotated, rest=None):
        total, logs = super().__call__(annotated, rest)
        return 3 * total, logs


def test_a_guidance_that_computes_its_own_loss_does_so_at_every_step(in_double):
    losses = {}
    for cls in (Guidance, Counting):
        trainer, batch = in_double("vit", cls(ENERGY), guide_every=2)
        losses[cls] = [gradient(trainer, batch, step)[0] for step in (0, 1)]
    assert losses[Counting] == pytest.approx([3 * loss for loss in losses[Guidance]], rel=1e-12)


def guided_batches(trainer, resume=None):
    """By batch in order, the global step and whether its terms counted."""
    seen, inner = [], trainer._training_parts

    def spy(model, inputs, guidance):
        seen.append((trainer.state.global_step, bool(guidance.guided)))
        return inner(model, inputs, guidance)

    trainer._training_parts = spy
    trainer.train(resume_from_checkpoint=resume)
    return seen


def test_micro_batches_of_a_step_go_together_and_a_resumed_run_goes_on(trainer_of, model_of, tmp_path):
    settings = {
        "guide_every": 2, "max_steps": 5, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "save_strategy": "steps", "save_steps": 3,
    }  # fmt: skip
    whole = trainer_of(model_of(), ENERGY, **settings)
    seen = guided_batches(whole)
    assert seen == [(step, step % 2 == 0) for step in range(5) for _ in range(2)]
    again = trainer_of(model_of(), ENERGY, **settings)
    assert guided_batches(again, str(tmp_path / "out" / "checkpoint-3")) == seen[6:]
    assert torch.equal(weights(whole.model), weights(again.model))


def losses_of(trainer):
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def test_logs_are_averages_over_the_guided_steps(trainer_of, model_of):
    settings = {"guide_every": 2, "max_steps": 6, "learning_rate": 0.0, "warmup_steps": 0}
    single, joined = (
        losses_of(trainer_of(model_of("vit"), ENERGY, logging_steps=count, **settings)) for count in (1, 6)
    )
    assert ["loss/energy" in entry for entry in single] == [True, False] * 3
    assert ["undefined_share/energy" in entry for entry in single] == [True, False] * 3
    for name in ("loss/energy", "undefined_share/energy"):
        mean = sum(entry[name] for entry in single[::2]) / 3
        assert joined[0][name] == pytest.approx(mean, rel=1e-4)
    for entry in single[::2]:
        assert entry["loss"] == pytest.approx(entry["loss/task"] + 4 * entry["loss/energy"], rel=1e-4)
    for entry in single[1::2]:
        assert entry["loss"] == pytest.approx(entry["loss/task"], rel=1e-4)


def test_evaluation_has_the_weights_of_every_step(trainer_of, model_of):
    found = []
    for every in (1, 2):
        trainer = trainer_of(model_of("vit"), ENERGY, guide_every=every)
        trainer.state.global_step = 1
        found.append(trainer.evaluate())
    names = ("eval_loss", "eval_loss/energy", "eval_epg")
    assert [found[0][name] for name in names] == [found[1][name] for name in names]


def test_annotated_rows_of_plain_steps_were_seen(trainer_of, model_of, digits):
    """A stream whose annotated rows all fall into plain steps is not one without annotation."""
    flags = [8 <= index < 16 for index in range(48)]
    stream = digits["train"].to_iterable_dataset().map(
        lambda row, index: {**row, "annotated": flags[index]}, with_indices=True
    )  # fmt: skip
    trainer = trainer_of(model_of(), ENERGY, rows=stream, guide_every=6, max_steps=12)
    trainer.train()
    assert trainer.state.global_step == 12


class Ending(TrainerCallback):
    """Sets the option anew in the middle of a run, as a callback may."""

    def on_step_end(self, args, state, control, **kwargs):
        args.guide_every = 0


def test_values_that_are_no_number_of_steps_are_refused(trainer_of, model_of, tmp_path):
    for value in (0, -1, 1.5, 2.0, "2", True, None):
        with pytest.raises(ValueError, match=r"guide_every=.*whole number of optimizer steps"):
            GuidanceArguments(str(tmp_path), guide_every=value)
    with pytest.raises(ValueError, match="max_rows=0"):
        GuidanceArguments(str(tmp_path), max_rows=0)
    trainer = trainer_of(model_of(), ENERGY, max_steps=2)
    trainer.add_callback(Ending())
    with pytest.raises(ValueError, match="guide_every=0"):
        trainer.train()


def test_the_command_line_has_it(tmp_path):
    (args,) = HfArgumentParser(GuidanceArguments).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--guide_every", "4"]
    )
    assert StepOptions.of(args).guide_every == 4


def test_the_card_and_the_facts_of_the_run_say_it(trainer_of, model_of, tmp_path):
    for every, told in ((1, False), (4, True)):
        trainer = trainer_of(model_of(), ENERGY, guide_every=every)
        trainer.create_model_card()
        text = (tmp_path / "out" / "README.md").read_text()
        assert ("one optimizer step of 4, with 4 times the weight (`guide_every=4`)" in text) == told
        assert facts_of(trainer).get("guide_every") == (4 if told else None)
