"""Gradient checkpointing and a frozen trunk under guidance: equal to the plain step where nothing changes, refused else."""

from __future__ import annotations

import pytest
import timm.layers
import torch
from test_whole_checkpoints import SETTINGS, image_rows, model_of
from torch.utils.checkpoint import checkpoint

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.objectives import Energy, RightReasons

GUIDANCE = Guidance(
    energy=Term(Energy(GradCAM(layer="final")), 1.0, "rows"), rrr=Term(RightReasons(InputXGradient("input")), 0.1)
)
# Not Adam, which makes whole steps of rounding errors.
PLAIN = {"save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False, "metric_for_best_model": None,
         "greater_is_better": None, "max_steps": 2, "optim": "sgd", "learning_rate": 0.1}  # fmt: skip


def trainer_of(model, folder, **settings):
    args = GuidanceArguments(str(folder), **(SETTINGS | PLAIN | settings))
    return GuidedTrainer(model, args, train_dataset=image_rows(), guidance=GUIDANCE)


def trained(model, folder, **settings):
    trainer = trainer_of(model, folder, **settings)
    trainer.train()
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def enable(model, **kwargs):
    switch = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    switch(kwargs or None)


def counted(model):
    """Calls of a layer inside a block: one more each time a block is computed anew."""
    calls = []
    inside = next(module for path, module in model.named_modules() if path.endswith("mlp.fc1"))
    inside.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize(
    ("name", "way"),
    [("vit", "arguments"), ("vit", "model"), ("swin", "arguments"), ("swin", "model"), ("timm_vit", "arguments"),
     ("timm_swin", "model")],
)  # fmt: skip
def test_gradient_checkpointing_changes_nothing(name, way, tmp_path):
    plain, saving = model_of(name), model_of(name)
    once, again = counted(plain), counted(saving)
    expected = trained(plain, tmp_path)
    if way == "model":
        enable(saving)
    found = trained(saving, tmp_path, **({"gradient_checkpointing": True} if way == "arguments" else {}))
    assert len(again) > len(once)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kwargs", [{"use_reentrant": True}, {"use_reentrant": None}, {"preserve_rng_state": True}])
@pytest.mark.parametrize("name", ["vit", "swin"])
def test_reentrant_checkpointing_at_the_model_is_refused(name, kwargs, tmp_path):
    model = model_of(name)
    enable(model, **kwargs)
    with pytest.raises(
        ValueError, match=r"reentrant gradient checkpointing.*gradient_checkpointing_enable\(\{'use_reentrant': F"
    ):
        trainer_of(model, tmp_path)


def test_torch_s_own_function_is_refused(tmp_path):
    model = model_of("vit")
    model._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=checkpoint)
    with pytest.raises(ValueError, match="reentrant gradient checkpointing"):
        trainer_of(model, tmp_path)


@pytest.mark.parametrize("name", ["timm_vit", "timm_resnet"])
def test_timm_s_reentrant_checkpointing_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(timm.layers.config, "_USE_REENTRANT_CKPT", True)
    model = model_of(name)
    trainer_of(model, tmp_path)
    model.timm_model.set_grad_checkpointing()
    with pytest.raises(ValueError, match=r"reentrant.*set_reentrant_ckpt\(False\)"):
        trainer_of(model, tmp_path)


def test_a_model_that_is_switched_after_building_the_trainer_is_refused(tmp_path):
    trainer = trainer_of(model_of("vit"), tmp_path)
    enable(trainer.model, use_reentrant=True)
    with pytest.raises(ValueError, match="reentrant gradient checkpointing"):
        trainer.train()


def test_switched_off_again_it_passes(tmp_path):
    model = model_of("vit")
    enable(model, use_reentrant=True)
    getattr(model, "activation_checkpointing_disable", getattr(model, "gradient_checkpointing_disable", None))()
    assert trainer_of(model, tmp_path).train().global_step == 2


def test_without_gradient_terms_reentrant_checkpointing_is_allowed(tmp_path):
    model = model_of("vit")
    enable(model, use_reentrant=True)
    args = GuidanceArguments(str(tmp_path), **(SETTINGS | PLAIN))
    assert GuidedTrainer(model, args, train_dataset=image_rows(), guidance=Guidance()).train().global_step == 2


@pytest.mark.parametrize("name", ["vit", "resnet", "swin", "convnext", "timm_resnet"])
def test_only_the_head_is_trained_on_a_frozen_trunk(name, tmp_path):
    model = model_of(name)
    head = model.timm_model.fc if name == "timm_resnet" else model.classifier
    model.requires_grad_(False)
    head.requires_grad_(True)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trainer = trainer_of(model, tmp_path)
    trainer.train()
    moved = {key for (key, new), old in zip(model.named_parameters(), before, strict=True) if not torch.equal(new, old)}
    assert moved == {key for key, value in model.named_parameters() if value.requires_grad}
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(entry["loss/energy"] > 0 for entry in steps)
