"""Models loaded in another dtype than that of the batches: guided steps near those of float32, or a refusal by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from test_parts_trained import PLAIN
from test_questions import random_importance, rows
from test_questions import trainer_of as question_trainer
from test_whole_checkpoints import SETTINGS, image_rows, model_of
from tiny import BUILDERS, explain, make_batch
from torch import nn

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import (
    BcosContribution,
    GradCAM,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    KeepOneIn,
    SoftLabelLogits,
)
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.objectives import Alignment, AnswerLoss, Energy, Sufficiency
from hf_guidance.training.attention import use_differentiable_attention
from hf_guidance.training.compatibility import refuse_unsupported

# Values around one. How bfloat16 rounds between operations depends on the processor.
TOLERANCE = {torch.bfloat16: 0.1, torch.float64: 1e-3}


def guidance_of(name):
    final = BcosContribution("final") if name == "bcos_resnet" else GradCAM("final")
    return Guidance(
        final=Energy(final), input=Energy(InputXGradient("input")), path=Energy(IntegratedGradients("mid1", steps=2))
    )


def losses_of(name, dtype):
    """The terms of a guided step on a batch in float32; its gradients are in the dtype of the model."""
    batch = make_batch()
    batch |= {"pixel_values": batch["pixel_values"].float()}
    model, guidance = model_of(name).to(dtype).train(), guidance_of(name)
    use_differentiable_attention(model)
    torch.manual_seed(0)  # Swin drops blocks
    total, logs = guidance(Forward(model, family_of(model), batch, guidance.needs()))
    total.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) and gradient.dtype == dtype for gradient in gradients)
    return torch.stack([logs[f"loss/{term}"].float() for term in guidance])


@pytest.mark.parametrize("name", BUILDERS)
def test_a_guided_step_is_near_that_of_float32(name):
    expected = losses_of(name, torch.float32)
    for dtype, tolerance in TOLERANCE.items():
        assert (losses_of(name, dtype) - expected).abs().max() < tolerance


def test_the_gradient_at_an_input_of_full_precision_is_of_full_precision():
    model = model_of("resnet").bfloat16()
    batch = make_batch()
    batch |= {"pixel_values": batch["pixel_values"].float()}
    forward = explain(model, family_of(model), batch, InputXGradient("input"))
    assert forward.activation("input").equal(batch["pixel_values"])
    assert forward.attribution(InputXGradient("input")).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_questions_and_views(dtype, tmp_path):
    losses = []
    for chosen in (torch.float32, dtype):
        guidance = Guidance(
            task=AnswerLoss(), align=Alignment(Gradient(target=SoftLabelLogits())), only=Alignment(KeepOneIn()),
            sufficient=Sufficiency(),
        )  # fmt: skip
        torch.manual_seed(0)
        trainer = question_trainer(guidance, rows(random_importance), tmp_path)
        trainer.model.to(chosen)
        trainer.train()
        step = next(entry for entry in trainer.state.log_history if "loss" in entry)
        losses.append(torch.tensor([step[f"loss/{name}"] for name in guidance]))
        assert -1 <= trainer.evaluate()["eval_plausibility"] <= 1
    assert (losses[0] - losses[1]).abs().max() < 0.05


def test_a_model_loaded_in_bfloat16(tmp_path):
    kind = type(model_of("resnet"))
    model_of("resnet").save_pretrained(tmp_path)
    model = kind.from_pretrained(tmp_path, dtype=torch.bfloat16)
    args = GuidanceArguments(str(tmp_path / "out"), **(SETTINGS | PLAIN))
    trainer = GuidedTrainer(
        model, args, train_dataset=image_rows(), eval_dataset=image_rows(2), guidance=guidance_of("resnet")
    )
    before = [parameter.clone() for parameter in model.parameters()]
    assert trainer.train().global_step == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert 0 <= trainer.evaluate()["eval_epg"] <= 1
    assert trainer.predict(image_rows(2)).predictions.shape == (2, 3)


def test_trained_float16_weights_are_refused(tmp_path):
    args = GuidanceArguments(str(tmp_path), **(SETTINGS | PLAIN))
    with pytest.raises(ValueError, match=r"float16 weights.*dtype=torch.float32.*fp16=True.*dtype=torch.bfloat16"):
        GuidedTrainer(model_of("vit").half(), args, train_dataset=image_rows(), guidance=guidance_of("vit"))


@pytest.mark.parametrize(("scaled", "refused"), [(True, False), (False, True)])
def test_frozen_float16_weights_need_a_scaled_loss(scaled, refused):
    model = nn.Sequential(nn.Linear(2, 2).half().requires_grad_(False), nn.Linear(2, 2))
    if refused:
        with pytest.raises(ValueError, match="float16 weights"):
            refuse_unsupported(SimpleNamespace(fp16=scaled), model)
    else:
        refuse_unsupported(SimpleNamespace(fp16=scaled), model)


def test_without_gradient_terms_float16_is_the_users_choice(tmp_path):
    args = GuidanceArguments(str(tmp_path), **(SETTINGS | PLAIN))
    trainer = GuidedTrainer(model_of("resnet").half(), args, train_dataset=image_rows(), guidance=Guidance())
    assert trainer.train().global_step == 2
