"""What the benchmark of attention compares is the same: gradients of a guided step, and of attention alone."""

import pytest
import torch
from attention_step import Alone, AttentionSetting

from hf_guidance.training.attention import TWICE_DIFFERENTIABLE


def _gradients(step, tensors):
    for tensor in tensors:
        tensor.grad = None
    step()
    return [tensor.grad.clone() for tensor in tensors if tensor.grad is not None]


def _close(found, expected, allowed):
    assert len(found) == len(expected) > 0
    largest = max(t.abs().max() for t in expected)
    assert all((one - other).abs().max() <= allowed * largest for one, other in zip(found, expected, strict=True))


def test_equal_gradients_of_a_guided_step():
    setting = AttentionSetting((32, 64))
    assert setting.fused == TWICE_DIFFERENTIABLE
    setting.model.double()
    setting.images, setting.importance = setting.images.double(), setting.importance.double()
    steps, parameters = setting.steps(), list(setting.model.parameters())
    _close(*(_gradients(steps[name], parameters) for name in ("guided", "eager")), 1e-5)  # eager rounds to float32


@pytest.mark.parametrize("tokens", [1, 197])
def test_equal_gradients_of_attention_alone(tokens):
    alone = Alone(tokens)
    alone.inputs = [t.detach().double().requires_grad_() for t in alone.inputs]
    steps = alone.steps()
    _close(*(_gradients(steps[name], alone.inputs) for name in ("fused", "whole")), 1e-10)
    alone.drop_gradients()
    assert all(tensor.grad is None for tensor in alone.inputs)
    assert torch.equal(Alone(tokens).inputs[0], Alone(tokens).inputs[0])
