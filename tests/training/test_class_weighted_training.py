"""Class weights in training: the sum over an update's images, divided by their number."""

from __future__ import annotations

import pytest
import torch

from hf_guidance import Guidance
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy, TaskLoss


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_class_weights_are_the_same_under_gradient_accumulation(trainer_of, model_of):
    weighted = Guidance(task=TaskLoss(class_weights=(0.2, 3.0)), energy=Energy(InputXGradient("input")))
    big = trainer_of(model_of("convnext"), weighted, per_device_train_batch_size=16, optim="sgd")
    small = trainer_of(
        model_of("convnext"), weighted, per_device_train_batch_size=4, gradient_accumulation_steps=4, optim="sgd"
    )
    plain = trainer_of(
        model_of("convnext"), Guidance({**weighted, "task": TaskLoss()}), per_device_train_batch_size=16, optim="sgd"
    )
    for trainer in (big, small, plain):
        trainer.train()
    assert not torch.allclose(weights(big.model), weights(plain.model), atol=1e-4)  # the weights are felt
    assert torch.allclose(weights(big.model), weights(small.model), atol=1e-6)
    assert big.evaluate()["eval_loss/task"] == pytest.approx(small.evaluate()["eval_loss/task"], rel=1e-5)
