"""What a guided training run does, against plain Trainer, other batch splits, and itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny import timm_model
from transformers import Trainer

from hf_guidance import Grounding, Guidance, GuidanceCollator, Term, with_annotated_fraction
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.forward import ExplainedRows
from hf_guidance.objectives import AnswerLoss, Energy, Objective, RightReasons, TaskLoss
from hf_guidance.views import FULL, IMPORTANT

ENERGY = Guidance(energy=Term(Energy(InputXGradient(layer="input")), weight=2.0))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_logs_one_entry_per_term_and_they_add_up(trainer_of, model_of):
    guidance = Guidance(energy=Term(Energy(GradCAM()), 0.5), rrr=Term(RightReasons(InputXGradient("final")), 1e-3))
    trainer = trainer_of(model_of(), guidance)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(steps) == 6
    for entry in steps:
        total = entry["loss/task"] + 0.5 * entry["loss/energy"] + 1e-3 * entry["loss/rrr"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
        assert 0 <= entry["undefined_share/energy"] <= 1


def test_without_terms_it_is_the_plain_trainer(trainer_of, model_of, digits, processor):
    guided = trainer_of(model_of("convnext"), Guidance())
    plain_model = model_of("convnext")
    collator = GuidanceCollator(processor, num_labels=2)

    def collate(rows):
        batch = collator(rows)
        return {"pixel_values": batch["pixel_values"], "labels": batch["labels"]}

    args = copy.deepcopy(guided.args)
    args.remove_unused_columns = False
    plain = Trainer(model=plain_model, args=args, train_dataset=digits["train"], data_collator=collate)
    guided.train()
    plain.train()
    assert torch.allclose(weights(guided.model), weights(plain_model), atol=1e-6)


@pytest.mark.parametrize("kind", ["convnext", "vit", "resnet"])
def test_gradient_accumulation_equals_the_big_batch(trainer_of, model_of, digits, kind):
    rows = with_annotated_fraction(digits["train"], 0.4, seed=1)
    big = trainer_of(model_of(kind), ENERGY, rows=rows, per_device_train_batch_size=16, frozen_batch_norm=True)
    small = trainer_of(
        model_of(kind), ENERGY, rows=rows, per_device_train_batch_size=4, gradient_accumulation_steps=4,
        frozen_batch_norm=True,
    )  # fmt: skip
    big.train()
    small.train()
    moved = (weights(big.model) - weights(model_of(kind))).norm()
    assert (weights(big.model) - weights(small.model)).norm() < 1e-3 * moved


def test_a_batch_without_annotation_runs_the_model_once_and_differentiates_nothing(
    trainer_of, model_of, digits, monkeypatch
):
    rows = with_annotated_fraction(digits["train"], 1.0, seed=0)
    trainer = trainer_of(model_of("vit"), ENERGY, rows=rows)
    trainer.model.train()
    batch = trainer.data_collator([{**rows[i], "annotated": False} for i in range(4)])
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: pytest.fail("differentiated without annotation"))
    loss = trainer.compute_loss(trainer.model, batch)
    plain = trainer.model(batch["pixel_values"], labels=batch["labels"]).loss
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)


def test_resuming_gives_the_numbers_of_an_uninterrupted_run(trainer_of, model_of, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 4, "num_train_epochs": 2, "dataloader_num_workers": 0}
    guidance = Guidance(energy=Term(Energy(GradCAM()), 1.0, "rows"))
    whole = trainer_of(model_of(), guidance, **settings)
    whole.train()
    again = trainer_of(model_of(), guidance, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert torch.equal(weights(whole.model), weights(again.model))
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (whole, again)]
    assert losses[0] == losses[1]


def test_multi_label_resume_draws_the_same_classes(trainer_of, model_of, digits, tmp_path, processor):
    def both(row):
        one = row["objects"][0]
        return {"labels": [0, 1], "objects": [one, {"bbox": [0.0, 0.0, 9.0, 9.0], "category": 1 - one["category"]}]}

    rows = digits["train"].map(both, load_from_cache_file=False)
    settings = {"save_strategy": "steps", "save_steps": 3, "seed": 5}
    runs = []
    for resume in (None, str(tmp_path / "out" / "checkpoint-3")):
        model = model_of(problem_type="multi_label_classification")
        trainer = trainer_of(model, ENERGY, rows=rows, **settings)
        trainer.train(resume_from_checkpoint=resume)
        runs.append(weights(trainer.model))
    assert torch.equal(*runs)


def test_bf16_hides_no_head_that_was_found(trainer_of):
    """Accelerate casts inside the model, whose rounding would hide that the logits are a Linear layer on a mean."""
    net = timm_model("test_efficientnet")
    trainer = trainer_of(net, Guidance(energy=Energy(InputXGradient("final"))), bf16=True, max_steps=1)
    trainer.train()
    assert hasattr(net, "_original_forward")
    wrapped = net.forward
    assert trainer.family.head_at("final") == "timm_model.classifier"
    assert net.forward is wrapped


def test_bf16_is_close_to_float32(trainer_of, model_of):
    guidance = Guidance(energy=Term(Energy(InputXGradient("mid1"))))
    logs = []
    for half in (False, True):
        trainer = trainer_of(model_of("vit"), guidance, bf16=half, learning_rate=1e-6)  # or the weights part
        trainer.train()
        logs.append(np.array([e["loss/energy"] for e in trainer.state.log_history if "loss/energy" in e]))
    assert np.abs(logs[0] - logs[1]).max() < 0.02
    assert np.abs(logs[0] - logs[1]).max() > 0


def test_nothing_of_a_step_stays_alive(trainer_of, model_of, digits):
    import gc

    trainer = trainer_of(model_of(), Guidance(energy=Term(Energy(IntegratedGradients(steps=2)))))
    trainer.model.train()
    batch = trainer.data_collator([digits["train"][i] for i in range(4)])

    def alive():
        return sum(isinstance(o, torch.Tensor) for o in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        counts = []
        for step in range(200):
            trainer.compute_loss(trainer.model, ExplainedRows().take_images(batch, [0, 1])).backward()
            if step in (10, 100, 199):
                counts.append(alive())
    finally:
        gc.enable()
    assert counts[0] >= counts[1] >= counts[2]


def test_label_smoothing_goes_into_the_task_term(trainer_of, model_of):
    trainer = trainer_of(model_of(), ENERGY, label_smoothing_factor=0.1)
    assert trainer.guidance["task"].objective == TaskLoss(label_smoothing=0.1)
    assert trainer.guidance["energy"] == ENERGY["energy"]


def test_label_smoothing_is_refused_where_the_task_does_not_smooth(trainer_of, model_of):
    with pytest.raises(ValueError, match=r"label_smoothing_factor=0.1 with the task AnswerLoss"):
        trainer_of(model_of(), Guidance(task=AnswerLoss()), label_smoothing_factor=0.1)


def test_evaluation_measures_grounding_under_no_grad(trainer_of, model_of, digits):
    trainer = trainer_of(
        model_of(), Guidance(), trainer={"grounding": Grounding(InputXGradient("input"), ("epg", "attribution_iou"))}
    )
    with torch.no_grad():
        metrics = trainer.evaluate()
    batch = trainer.data_collator([digits["test"][i] for i in range(20)])
    pixels = batch["pixel_values"].requires_grad_()
    logits = trainer.model(pixels).logits
    gradient = torch.autograd.grad(logits.gather(1, batch["labels"][:, None]).sum(), pixels)[0]
    positive = (gradient * pixels).sum(1).clamp_min(0)
    epg = ((positive * batch["importance"]).sum((1, 2)) / positive.sum((1, 2))).mean()
    assert metrics["eval_epg"] == pytest.approx(epg.item(), rel=1e-5)
    assert {"eval_epg_undefined_share", "eval_attribution_iou", "eval_loss/task"} <= set(metrics)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_evaluation_takes_one_backward_per_slot(trainer_of, model_of, digits, monkeypatch):
    names = ["0-6-8", "1-4-7"]

    def both(row):
        one = row["objects"][0]
        return {"labels": [0, 1], "objects": [one, {"bbox": [0.0, 0.0, 9.0, 9.0], "category": 1 - one["category"]}]}

    rows = digits["test"].map(both, load_from_cache_file=False)
    trainer = trainer_of(
        model_of(problem_type="multi_label_classification"), Guidance(),
        trainer={"grounding": Grounding(InputXGradient("input")), "eval_dataset": rows}, per_device_eval_batch_size=10,
    )  # fmt: skip
    calls = []
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or original(*a, **k))
    trainer.evaluate()
    assert len(calls) == 2 * len(names)  # two batches, two slots, though there are 40 pairs


@dataclass(frozen=True)
class OwnSufficiency(Objective):
    """What is important must do: the task's loss on it."""

    def needs(self):
        return frozenset({(FULL, "logits"), (IMPORTANT, "logits")})

    def __call__(self, forward):
        logits = forward.of_rows(forward.logits(IMPORTANT)[0])
        return torch.nn.functional.cross_entropy(logits, forward.column("target"), reduction="none")


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_objectives_on_views_guide(trainer_of, model_of, digits, share):
    rows = with_annotated_fraction(digits["train"], share, seed=0)
    trainer = trainer_of(model_of(), Guidance(sufficiency=OwnSufficiency()), rows=rows, ddp_static_graph=True)
    trainer.train()
    assert all(entry["loss/sufficiency"] > 0 for entry in trainer.state.log_history if "loss" in entry)
    assert trainer.evaluate()["eval_loss/sufficiency"] > 0
    bare = digits["train"].remove_columns(["objects", "mask"])
    with pytest.raises(ValueError, match="none of the columns"):
        trainer_of(model_of(), Guidance(sufficiency=OwnSufficiency()), rows=bare)


def test_a_failed_evaluation_leaves_nothing_behind(trainer_of, model_of, digits, monkeypatch):
    trainer = trainer_of(model_of(), ENERGY, per_device_eval_batch_size=5)
    clean = trainer.evaluate()
    trainer.model.eval()
    trainer.compute_loss(trainer.model, trainer.data_collator([digits["train"][i] for i in range(4)]))
    calls, original = [], trainer.compute_loss

    def fail(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("interrupted")
        return original(*args, **kwargs)

    monkeypatch.setattr(trainer, "compute_loss", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        trainer.evaluate()
    again = trainer.evaluate()
    for name in ("eval_epg", "eval_loss/energy", "eval_loss/task"):
        assert again[name] == pytest.approx(clean[name], rel=1e-6), name


def test_a_new_model_is_looked_at_anew(trainer_of, model_of):
    kinds = iter(["resnet", "convnext"])
    trainer = trainer_of(None, ENERGY, trainer={"model_init": lambda: model_of(next(kinds))})
    first = trainer.family
    trainer.model = trainer.call_model_init()
    assert trainer.family != first
    own = trainer_of(model_of(), ENERGY, trainer={"family": first})
    own._forget_model()
    assert own.family is first


def test_rows_with_pixel_values_need_no_processor(trainer_of, model_of):
    torch.manual_seed(0)
    rows = [
        {
            "pixel_values": torch.randn(3, 32, 32),
            "label": i % 2,
            "objects": [{"bbox": [0.0, 0.0, 16.0, 16.0], "category": i % 2}],
        }
        for i in range(8)
    ]
    trainer = trainer_of(model_of(), ENERGY, rows=rows, trainer={"processing_class": None, "eval_dataset": rows})
    assert trainer.train().global_step == 1
