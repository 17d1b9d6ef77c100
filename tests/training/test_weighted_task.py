"""Class weights of the task loss, in training."""

from __future__ import annotations

import pytest
import torch

from hf_guidance import Guidance, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy, TaskLoss

ENERGY = Guidance(energy=Term(Energy(InputXGradient(layer="input")), weight=2.0))


def test_class_weights_are_the_same_under_gradient_accumulation(trainer_of, model_of):
    weighted = Guidance(task=TaskLoss(class_weights=(0.2, 3.0)), **{"energy": ENERGY["energy"]})
    big = trainer_of(model_of("convnext"), weighted, per_device_train_batch_size=16, optim="sgd")
    small = trainer_of(
        model_of("convnext"), weighted, per_device_train_batch_size=4, gradient_accumulation_steps=4, optim="sgd"
    )
    big.train()
    small.train()
    found = [torch.nn.utils.parameters_to_vector(trainer.model.parameters()) for trainer in (big, small)]
    assert torch.allclose(*found, atol=1e-6)
    assert big.evaluate()["eval_loss/task"] == pytest.approx(small.evaluate()["eval_loss/task"], rel=1e-5)
