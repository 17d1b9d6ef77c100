"""Annotated images are called apart from the others where that changes nothing, and with them where it would."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hf_guidance import Guidance, Term, with_annotated_fraction
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.forward import Forward, forward
from hf_guidance.objectives import Energy, Sufficiency
from hf_guidance.views import Blur, OtherImages

ENERGY = Guidance(energy=Term(Energy(InputXGradient(layer="input")), weight=2.0))


@pytest.mark.parametrize("kind", ["convnext", "vit"])
def test_running_annotated_rows_apart_changes_nothing(trainer_of, model_of, digits, kind):
    rows = with_annotated_fraction(digits["train"], 0.3, seed=0)
    trainer = trainer_of(model_of(kind).double(), ENERGY, rows=rows)
    trainer.model.train()
    batch = trainer.data_collator([rows[i] for i in range(10)])
    batch["pixel_values"] = batch["pixel_values"].double()
    assert 0 < sum(batch["annotated"]) < 10
    parts = trainer._training_parts(trainer.model, batch, trainer.guidance)
    annotated, rest = trainer._forwards(trainer.model, trainer.guidance, parts)
    assert rest is not None
    apart, _ = trainer.guidance(annotated, rest)
    together, _ = trainer.guidance(Forward(trainer.model, trainer.family, batch, ENERGY.needs()), None)
    parameters = list(trainer.model.parameters())
    first = torch.autograd.grad(apart, parameters)
    second = torch.autograd.grad(together, parameters)
    assert apart.item() == pytest.approx(together.item(), rel=1e-10)
    for one, other in zip(first, second, strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-12)
    logits = torch.cat([annotated.logits(), rest.logits()])[parts.order]
    assert torch.allclose(logits, trainer.model(batch["pixel_values"]).logits, atol=1e-10)


@pytest.mark.parametrize(("replace", "apart"), [(OtherImages(), False), (Blur(2.0), True)])
def test_fills_from_other_images_keep_the_batch_together(trainer_of, model_of, digits, replace, apart):
    """Apart from the others, annotated images could be filled from each other only."""
    rows = with_annotated_fraction(digits["train"], 0.3, seed=0)
    guidance = Guidance(energy=Energy(InputXGradient("input")), sufficiency=Sufficiency(replace=replace))
    trainer = trainer_of(model_of("vit"), guidance, rows=rows)
    trainer.model.train()
    batch = trainer.data_collator([rows[i] for i in range(10)])
    parts = trainer._training_parts(trainer.model, batch, trainer.guidance)
    annotated, rest = trainer._forwards(trainer.model, trainer.guidance, parts)
    assert (rest is not None) == apart
    assert (annotated.images == 10) != apart


def test_train_mode_batch_norm_keeps_the_batch_together(trainer_of, model_of, digits):
    rows = with_annotated_fraction(digits["train"], 0.3, seed=0)
    trainer = trainer_of(model_of("resnet"), ENERGY, rows=rows)
    trainer.model.train()
    batch = trainer.data_collator([rows[i] for i in range(10)])
    parts = trainer._training_parts(trainer.model, batch, trainer.guidance)
    annotated, rest = trainer._forwards(trainer.model, trainer.guidance, parts)
    assert rest is None
    assert annotated.images == 10
    assert len(annotated.row) == sum(rows[i]["annotated"] for i in range(10)) < 10


def by_hand(model, batch, weight, relu):
    """The loss of one call of the whole batch, and a map at a time: the row of the head over the last layer's output."""
    kept = []
    handle = model.resnet.encoder.register_forward_hook(lambda module, args, output: kept.append(output[0]))
    logits = model(batch["pixel_values"]).logits
    handle.remove()
    last, head = kept[0], model.classifier[1].weight
    total = F.cross_entropy(logits, batch["labels"])
    for index, annotated in enumerate(batch["annotated"]):
        if annotated:
            image = batch["row"][index]
            cam = (head[batch["target"][index], :, None, None] * last[image]).sum(0) / last[0, 0].numel()
            importance = batch["importance"][index].double()
            cam = cam.clamp_min(0) if relu else cam
            positive = F.interpolate(cam[None, None], importance.shape, mode="bilinear")[0, 0].clamp_min(0)
            total = total + weight * (1 - (positive * importance).sum() / positive.sum()) / len(logits)
    return total


@pytest.mark.parametrize("method", [InputXGradient, GradCAM])
def test_a_closed_form_explains_the_annotated_rows_alone_under_train_mode_batch_norm(
    trainer_of, model_of, digits, method, monkeypatch
):
    """Statistics are those of the whole batch, so that loss and gradients are those of an explanation of all rows."""
    rows = with_annotated_fraction(digits["train"], 0.3, seed=0)
    guidance = Guidance(energy=Term(Energy(method(layer="final")), weight=2.0))
    trainer = trainer_of(model_of("resnet").double(), guidance, rows=rows)
    model = trainer.model.train()
    batch = trainer.data_collator([rows[i] for i in range(16)])
    batch["pixel_values"] = batch["pixel_values"].double()
    real, explained, calls, differentiated = forward.cam_gradient, [], [], []
    grad = torch.autograd.grad
    monkeypatch.setattr(
        forward,
        "cam_gradient",
        lambda weights, head, at: explained.append((len(weights), len(at))) or real(weights, head, at),
    )
    trainer._checks = lambda *given: None  # judges the terms by derivatives of their own
    with monkeypatch.context() as patched:
        patched.setattr(torch.autograd, "grad", lambda *a, **k: differentiated.append(1) or grad(*a, **k))
        handle = model.register_forward_hook(lambda module, args, output: calls.append(len(output.logits)))
        loss = trainer.compute_loss(model, batch)
        handle.remove()
    annotated = sum(batch["annotated"])
    assert 0 < annotated < 16
    assert calls == [16]  # one call, of all images
    assert explained == [(annotated, annotated)]
    assert not differentiated
    parameters = list(model.parameters())
    wanted = by_hand(model, batch, weight=2.0, relu=method is GradCAM)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-10)
    ours, theirs = (torch.cat([g.flatten() for g in grad(each, parameters)]) for each in (loss, wanted))
    assert (ours - theirs).norm() <= 1e-10 * theirs.norm()
    every = dict(batch) | {"annotated": [True] * 16}
    together = Forward(model, trainer.family, every, guidance.needs())
    everything = torch.where(torch.tensor(batch["annotated"]), guidance["energy"].objective(together), 0).sum() / 16
    parts = F.cross_entropy(together.logits(), batch["labels"]) + 2 * everything
    assert parts.item() == pytest.approx(loss.item(), rel=1e-10)
    alike = torch.cat([g.flatten() for g in grad(parts, parameters)])
    assert (ours - alike).norm() <= 1e-10 * alike.norm()
