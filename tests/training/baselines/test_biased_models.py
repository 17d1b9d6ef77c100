"""LfF, LC, SoftCon and FLAC: methods with a second model."""

from __future__ import annotations

import pytest
import torch
from placed_rows import place_rows, small_model, unsure_model, weights_of

from hf_guidance.training.baselines import FLAC, LC, CnC, LfF, SoftCon
from hf_guidance.training.baselines.flac import independence
from hf_guidance.training.baselines.lff import averaged, relative_difficulty
from hf_guidance.training.baselines.logit_correction import (
    batch_means,
    joint_prior,
    minority_partners,
    ramp,
    running_means,
)
from hf_guidance.training.baselines.soft_con import crops


@pytest.mark.parametrize("method", [LfF(), LC(ramp_epochs=0)], ids=["lff", "lc"])
def test_both_models_move_and_apart(baseline, method):
    trainer = baseline(method)
    start = weights_of(trainer.model)
    trainer.train()
    biased = trainer._run.models["biased"]
    assert not torch.equal(weights_of(trainer.model), start)
    assert not torch.equal(weights_of(biased), start)
    assert not torch.equal(weights_of(biased), weights_of(trainer.model))
    assert not any(one is other for one in biased.parameters() for other in trainer.model.parameters())
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    weight = 2.0 if isinstance(method, LC) else 1.0
    assert all(one["loss"] == pytest.approx(one["loss/task"] + weight * one["loss/biased"], rel=1e-3) for one in logs)


def test_the_biased_model_follows_the_schedule_and_accumulates(baseline):
    """Four batches of 2 move it as one of 8 does, where no BatchNorm couples the images."""
    big = baseline(LfF(alpha=0.0), frozen_batch_norm=True, optim="sgd", lr_scheduler_type="linear", max_steps=1)
    small = baseline(
        LfF(alpha=0.0), frozen_batch_norm=True, optim="sgd", lr_scheduler_type="linear", max_steps=1,
        per_device_train_batch_size=2, gradient_accumulation_steps=4,
    )  # fmt: skip
    for trainer in (big, small):
        trainer.train()
    ours, theirs = (weights_of(trainer._run.models["biased"]) for trainer in (small, big))
    start = weights_of(small_model())
    assert (ours - theirs).norm() < 1e-4 * (theirs - start).norm()
    rates = [group["lr"] for group in big._further._optimizer.param_groups]
    assert rates == [big.args.learning_rate] * 2
    assert all((value.grad is None or not value.grad.any()) for value in big._run.models["biased"].parameters())


def test_averages_begin_with_the_first_loss_and_weights_follow_their_class():
    classes, averages = torch.tensor([0, -1, 1]), torch.tensor([2.0, 0.0, 4.0])
    new = averaged(averages, classes, torch.tensor([0, 1]), torch.tensor([1.0, 3.0]), 0.7)
    assert new.tolist() == pytest.approx([0.7 * 2 + 0.3, 3.0, 4.0])
    classes = torch.tensor([0, 0, 1])
    weight = relative_difficulty(new, torch.tensor([1.0, 0.5, 0.0]), classes, torch.tensor([0, 1, 2]))
    assert weight.tolist() == pytest.approx([(1.7 / 3) / (1.7 / 3 + 1), 1 / 1.5, 1.0])
    nothing = relative_difficulty(torch.zeros(3), torch.zeros(3), classes, torch.tensor([0]))
    assert nothing.tolist() == [0.0]


def test_tables_of_logit_correction():
    labels, guesses, own = torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1]), torch.tensor([0.9, 0.7, 0.8, 0.2])
    cell = labels * 2 + guesses
    means = batch_means(cell, own, 2)
    assert means.flatten().tolist() == pytest.approx([0.8, 0.2, 0.0, 0.8], abs=1e-4)
    prior = joint_prior(means, guesses)
    assert prior[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-4)
    assert prior[3].tolist() == pytest.approx([0.2, 0.8], abs=1e-4)
    table, seen = torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.bool)
    wanted, known = torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.bool)
    for _ in range(3):  # against one image after another
        table, seen = running_means(table, seen, cell, own, 0.6)
        for label, guess, value in zip(labels, guesses, own, strict=True):
            old = wanted[label, guess]
            wanted[label, guess] = 0.6 * old + 0.4 * value if known[label, guess] else value
            known[label, guess] = True
    assert torch.allclose(table, wanted)
    assert torch.equal(seen, known)


def test_partners_are_of_the_class_and_rare_where_there_are_rare_ones():
    labels, guesses = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 1])
    for _ in range(10):
        partners = minority_partners(labels, guesses)
        assert partners[:3].tolist() == [2, 2, 2]
        assert set(partners[3:].tolist()) <= {3, 4}
    assert (ramp(0, 0), ramp(5, 5), ramp(9, 5)) == (1.0, 1.0, 1.0)
    assert ramp(0, 5) == pytest.approx(0.0067, abs=1e-4)


@pytest.mark.parametrize("kind", [SoftCon, FLAC])
def test_features_of_the_biased_model_are_read_once(baseline, placed, kind):
    biased, calls = unsure_model(), []
    with torch.no_grad():
        wanted = biased.eval().resnet(torch.tensor(placed["pixel_values"])).pooler_output.flatten(1)
    start = weights_of(biased)
    biased.register_forward_hook(lambda *_: calls.append(1))
    trainer = baseline(kind(biased), num_train_epochs=2, per_device_eval_batch_size=24)
    trainer.train()
    assert len(calls) == 1
    assert torch.allclose(trainer._run.state()["bias_features"], wanted, atol=1e-5)
    assert torch.equal(weights_of(biased), start)
    assert "bias_model" not in repr(kind(biased))


def test_a_batch_without_pairs_has_no_flac_loss():
    features = torch.rand(3, 4, requires_grad=True)
    loss = independence(torch.ones(3, 2), features, torch.zeros(3, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert features.grad.isfinite().all()


def test_crops_keep_size_and_range():
    pixels = torch.rand(6, 3, 16, 20)
    views = crops(pixels)
    assert views.shape == pixels.shape
    assert views.min() >= 0
    assert views.max() <= 1 + 1e-6
    assert not torch.equal(views, crops(pixels))


def test_what_is_outside_its_range_is_refused(baseline):
    model = small_model()
    wrong = [
        lambda: LfF(q=0), lambda: LfF(alpha=1.0), lambda: LC(q=0), lambda: LC(eta=-1), lambda: LC(decay=1.0),
        lambda: FLAC(model, weight=-1), lambda: FLAC(model, exponent=0), lambda: SoftCon(model, temperature=0),
        lambda: SoftCon(model, task_weight=-1),
    ]  # fmt: skip
    for make in wrong:
        with pytest.raises(ValueError, match="give"):
            make()
    with pytest.raises(ValueError, match="choose one of"):
        LC(average="epoch")
    with pytest.raises(ValueError, match="bias_model is a str; give a model"):
        baseline(FLAC("resnet")).train()
    for method in (CnC(head="nowhere"), FLAC(model, head="nowhere"), SoftCon(model, head="nowhere")):
        with pytest.raises(ValueError, match="head='nowhere' is no Linear layer"):
            baseline(method, trainer={"train_dataset": place_rows(8)}).train()


def test_the_biased_model_has_the_optimizer_of_the_trainer(baseline):
    kind = (torch.optim.Adam, {"lr": 1e-2})
    trainer = baseline(LC(), trainer={"optimizer_cls_and_kwargs": kind}, max_steps=1)
    trainer.train()
    assert type(trainer._further._optimizer) is torch.optim.Adam
    assert trainer._further._optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)
    model = small_model()
    own = (torch.optim.SGD(model.parameters(), lr=1e-2), None)
    with pytest.raises(ValueError, match="trains a second model, which optimizers= does not update"):
        baseline(LfF(), model, {"optimizers": own}).train()
    with pytest.raises(ValueError, match="with fp16, DeepSpeed or FSDP"):
        baseline(LfF(), fp16=True, use_cpu=False)
