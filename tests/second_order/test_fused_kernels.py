"""The double backwards of GELU and LayerNorm by one formula each: exact, in every layout, and off where they do not apply."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from kernel_setting import OPERATIONS, error, fused, own, random_inputs, second
from torch import nn
from torch.autograd import gradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hf_guidance.second_order import first_derivative, fused_kernels, fusing


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_formulas_agree_with_finite_differences(name, formulas):
    operation, inputs = random_inputs(name)

    def derivative(dy, *inputs):
        output = fused(operation)(*inputs)
        with first_derivative():
            return torch.autograd.grad(output, inputs[0], dy, create_graph=True)[0]

    assert gradcheck(derivative, [torch.randn_like(operation(*inputs)).requires_grad_(), *inputs])
    assert set(formulas) == {"double backward of " + ("GELU" if "gelu" in name else "LayerNorm")}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_formulas_are_those_of_the_own_kernels(name, formulas):
    operation, inputs = random_inputs(name)
    assert error(second(fused(operation), inputs), second(own(operation), inputs)) <= 1e-14
    assert formulas


def test_gelu_keeps_the_memory_layout_of_its_input():
    x = torch.randn(2, 3, 4, 2).contiguous(memory_format=torch.channels_last)
    for found in fusing.gelu_double_backward(fusing.flat_gelu, x, x, x):
        assert found.stride() == x.stride()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gelu_is_straight_far_from_zero_and_far_beyond(dtype, formulas):
    x = torch.tensor(
        [-6e4, -300.0, 300.0, 6e4, 1e30 if dtype != torch.float16 else 6e4], dtype=dtype, requires_grad=True
    )
    y = fused(F.gelu)(x)
    with first_derivative():
        (slope,) = torch.autograd.grad(y, x, torch.ones_like(y, requires_grad=True), create_graph=True)
    assert torch.equal(torch.autograd.grad(slope.sum(), x)[0], torch.zeros_like(x))
    assert formulas


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 1), (1, 1)])
def test_empty_batches_and_sizes_of_one_run_on_the_own_kernels(shape, formulas):
    inputs = [torch.randn(shape, dtype=torch.float64), *torch.randn(2, shape[1], dtype=torch.float64)]

    def both(x, w, b):
        return F.layer_norm(F.gelu(x), shape[1:], w, b)

    for a, b in zip(second(fused(both), inputs), second(own(both), inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    assert "double backward of LayerNorm" not in formulas


def test_frozen_weights_get_no_gradient(formulas):
    inputs = [torch.randn(4, 5, requires_grad=True), torch.randn(5), torch.randn(5)]
    output = fused(lambda x, w, b: F.layer_norm(x, (5,), w, b))(*inputs)
    with first_derivative():
        (dx,) = torch.autograd.grad(output.square().sum(), inputs[0], create_graph=True)
    dx.square().sum().backward()
    assert inputs[0].grad is not None
    assert not formulas


def test_off_by_default_and_outside(formulas):
    operation, inputs = random_inputs("gelu")
    with fused_kernels():
        pass
    second(own(operation), inputs)
    assert not formulas


def test_checkpointed_regions_and_compiled_steps_fall_through(formulas):
    operation, inputs = random_inputs("layer norm")
    found = second(fused(lambda *given: checkpoint(operation, *given, use_reentrant=False)), inputs)
    assert error(found, second(own(operation), inputs)) <= 1e-14
    traced = make_fx(lambda *given: second(fused(operation), list(given)), tracing_mode="fake")(*inputs)
    assert not formulas
    expected = second(own(operation), inputs)
    with torch.no_grad():
        assert error(traced(*inputs), expected) <= 1e-6


def test_autocast_is_closer_to_float64_than_the_own_kernels(formulas):
    x = 2 * torch.randn(64, 50)
    exact = second(own(F.gelu), [x.bfloat16()], torch.float64)

    def half(run):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return second(run, [x.bfloat16()])

    assert error(half(fused(F.gelu)), exact) <= 1.01 * error(half(own(F.gelu)), exact)
    assert formulas == ["double backward of GELU"]


def test_models_are_copied_and_pickled_as_without(formulas):
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4))
    second(fused(model), [torch.randn(3, 4)])
    assert formulas
    model.zero_grad()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other[0].weight, model[0].weight)
