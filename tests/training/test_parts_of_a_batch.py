"""Annotated images are called apart from the others where that changes nothing, and with them where it would."""

from __future__ import annotations

import pytest
import torch

from hf_guidance import Guidance, Term, with_annotated_fraction
from hf_guidance.attributions import InputXGradient
from hf_guidance.forward import Forward
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
    annotated, rest, order = trainer._training_forwards(trainer.model, batch)
    assert rest is not None
    apart, _ = trainer.guidance(annotated, rest)
    together, _ = trainer.guidance(Forward(trainer.model, trainer.family, batch, ENERGY.needs()), None)
    parameters = list(trainer.model.parameters())
    first = torch.autograd.grad(apart, parameters)
    second = torch.autograd.grad(together, parameters)
    assert apart.item() == pytest.approx(together.item(), rel=1e-10)
    for one, other in zip(first, second, strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-12)
    logits = torch.cat([annotated.logits(), rest.logits()])[order]
    assert torch.allclose(logits, trainer.model(batch["pixel_values"]).logits, atol=1e-10)


@pytest.mark.parametrize(("replace", "apart"), [(OtherImages(), False), (Blur(2.0), True)])
def test_fills_from_other_images_keep_the_batch_together(trainer_of, model_of, digits, replace, apart):
    """Apart from the others, annotated images could be filled from each other only."""
    rows = with_annotated_fraction(digits["train"], 0.3, seed=0)
    guidance = Guidance(energy=Energy(InputXGradient("input")), sufficiency=Sufficiency(replace=replace))
    trainer = trainer_of(model_of("vit"), guidance, rows=rows)
    trainer.model.train()
    annotated, rest, _ = trainer._training_forwards(trainer.model, trainer.data_collator([rows[i] for i in range(10)]))
    assert (rest is not None) == apart
    assert (annotated.images == 10) != apart


def test_train_mode_batch_norm_keeps_the_batch_together(trainer_of, model_of, digits):
    rows = with_annotated_fraction(digits["train"], 0.3, seed=0)
    trainer = trainer_of(model_of("resnet"), ENERGY, rows=rows)
    trainer.model.train()
    annotated, rest, _ = trainer._training_forwards(trainer.model, trainer.data_collator([rows[i] for i in range(10)]))
    assert rest is None
    assert annotated.images == 10
    assert len(annotated.row) == sum(rows[i]["annotated"] for i in range(10)) < 10
