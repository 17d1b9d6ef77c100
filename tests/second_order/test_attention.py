"""Fused attention has the values, gradients and second derivatives of attention made of whole matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from hf_guidance.second_order.attention import fused_attention, kernels, operands
from hf_guidance.second_order.attention.function import Attention
from hf_guidance.second_order.attention.pattern import Pattern

MASKS = {
    "none": None,
    "boolean": torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]]).bool().expand(2, 2, 3, 4),
    "added": torch.linspace(-2, 1, 24).double().sin().reshape(1, 2, 3, 4),
    "of the keys": torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0]]).bool()[:, None, None],
    "of the queries": torch.tensor([0.0, -math.inf, 1.0]).double()[None, None, :, None],
}


def _tensors(*shapes, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def _whole(*args, **kwargs):
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(*args, **kwargs)


def _second(attend, inputs):
    """Output, gradient and the gradients of a loss on both, which goes through all of them."""
    output = attend(*inputs)
    gradients = torch.autograd.grad((output.sin() * output).sum(), inputs, create_graph=True)
    loss = sum((g.square() * x.cos()).sum() for g, x in zip(gradients, inputs, strict=True)) + output.square().sum()
    return output, *gradients, *torch.autograd.grad(loss, inputs)


def _error(found, expected):
    """The largest error, each relative to the largest number of its tensor; of a tensor of zeros to that of all.

    With one place the gradients of queries and keys are 0, and on some processors rounding.
    """
    largest = max(b.double().abs().max().item() for b in expected)
    return max(
        (a.double() - b.double()).abs().max().item() / (b.double().abs().max().item() or largest)
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("tile", [1, 9, 30], ids=["a query", "some queries", "some heads"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_derivatives_agree_with_finite_differences(mask, causal, groups, tile, monkeypatch):
    monkeypatch.setattr(operands, "CPU_TILE", tile)
    shapes = [(2, 2, 3, 2), (2, 2 // groups, 4, 2), (2, 2 // groups, 4, 2)]
    q, k, v = _tensors(*shapes)

    def attend(q, k, v):
        return Attention.apply(q, k, v, MASKS[mask], causal, 0.7)

    if tile == 1:
        assert gradcheck(attend, (q, k, v))
    assert gradgradcheck(attend, (q, k, v), fast_mode=True)


def test_every_entry_of_the_second_derivative():
    assert gradgradcheck(lambda q, k, v: Attention.apply(q, k, v, None, False, 0.7), _tensors(*[(1, 1, 3, 2)] * 3))


@pytest.mark.parametrize("known", [True, False], ids=["log-sum-exp known", "not known"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_the_first_backward_in_tiles(mask, causal, groups, known, monkeypatch):
    monkeypatch.setattr(operands, "CPU_TILE", 9)
    q, k, v, g = (t.detach() for t in _tensors((2, 2, 3, 2), *[(2, 2 // groups, 4, 2)] * 2, (2, 2, 3, 2)))
    pattern = Pattern(MASKS[mask], causal, 0.7)
    o, lse = kernels.attend(q, k, v, pattern)
    expected = kernels.first_backward(g, q, k, v, o, lse, pattern)
    found = kernels.tiled_backward(g, q, k, v, o, lse if known else None, pattern)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_the_way_of_devices_whose_log_sum_exp_is_not_read(mask, causal, groups, monkeypatch):
    inputs = _tensors((2, 2, 3, 2), *[(2, 2 // groups, 4, 2)] * 2)

    def attend(q, k, v):
        return Attention.apply(q, k, v, MASKS[mask], causal, 0.7)

    expected = _second(attend, inputs)
    monkeypatch.setattr(kernels, "gives_log_sum_exp", lambda q: False)
    monkeypatch.setattr(operands, "CPU_TILE", 9)
    for one, other in zip(_second(attend, inputs), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


CALLS = {
    "plain": ([(2, 3, 70, 16)] * 3, {}),
    "other number of keys": ([(2, 3, 70, 16), (2, 3, 33, 16), (2, 3, 33, 16)], {}),
    "more queries than keys, causal": ([(2, 3, 70, 16), (2, 3, 33, 16), (2, 3, 33, 16)], {"is_causal": True}),
    "one query": ([(2, 3, 1, 16), (2, 3, 33, 16), (2, 3, 33, 16)], {"scale": 2.0}),
    "grouped": ([(2, 6, 20, 8), (2, 2, 20, 8), (2, 2, 20, 8)], {"enable_gqa": True, "is_causal": True}),
    "keys of one head": ([(2, 6, 20, 8), (2, 1, 20, 8), (2, 1, 20, 8)], {}),
    "queries of one head": ([(2, 1, 20, 8), (2, 6, 20, 8), (2, 1, 20, 8)], {}),
    "queries for all images": ([(1, 3, 5, 8), (2, 3, 20, 8), (2, 3, 20, 8)], {}),
    "without heads": ([(4, 20, 8)] * 3, {"attn_mask": torch.ones(4, 20, 20).tril().bool()}),
    "one matrix": ([(20, 8)] * 3, {"attn_mask": torch.ones(20, 20).tril().bool()}),
    "windows": ([(2, 3, 4, 9, 8)] * 3, {"attn_mask": torch.rand(3, 1, 9, 9) > 0.3}),
    "heads of 300": ([(1, 2, 6, 300)] * 3, {}),
    "no keys": ([(1, 2, 6, 4), (1, 2, 0, 4), (1, 2, 0, 4)], {}),
    "lowest number": (
        [(2, 2, 5, 4)] * 3,
        {"attn_mask": torch.finfo(torch.float64).min * (torch.arange(5) > 2)[:, None].double().expand(5, 5)},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_second_derivatives_equal_those_through_whole_matrices(name):
    shapes, options = CALLS[name]
    inputs = _tensors(*shapes)
    found, expected = (_second(lambda *x, f=f: f(*x, **options), inputs) for f in (fused_attention, _whole))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


LAYOUTS = {
    "dims apart": lambda t: t.mT.contiguous().mT,  # as channels of a map that were flattened and transposed
    "heads last": lambda t: t.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "heads behind places": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
    "every second number": lambda t: torch.stack([t, t], -1).flatten(-2)[..., ::2],
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("places", [1, 6])
def test_every_memory_layout(name, places):
    given = [t.detach() for t in _tensors(*[(2, 3, places, 4)] * 3)]

    def laid_out(*inputs):
        return [LAYOUTS[name](t) for t in inputs]

    expected = _second(_whole, [t.requires_grad_() for t in given])
    found = _second(lambda *x: LAYOUTS[name](fused_attention(*laid_out(*x))), given)
    assert _error(found, expected) < 1e-12


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 2e-6), (torch.float16, 8e-3), (torch.bfloat16, 5e-2)])
def test_precision(dtype, allowed):
    inputs = _tensors(*[(2, 3, 70, 16)] * 3, dtype=dtype)
    exact = [t.detach().double().requires_grad_() for t in inputs]
    found = _second(fused_attention, inputs)
    assert all(t.dtype == dtype for t in found)
    assert _error(found, _second(_whole, exact)) < allowed


def test_a_mask_of_large_negative_numbers_in_float32():
    mask = torch.zeros(40, 40)
    mask[:, 10:] = -1e4
    mask[5] = -1e4  # the logarithm of 40 is lost beside it
    inputs = _tensors(*[(1, 2, 40, 8)] * 3, dtype=torch.float32)
    found, expected = (_second(lambda *x, f=f: f(*x, attn_mask=mask), inputs) for f in (fused_attention, _whole))
    assert _error(found, expected) < 1e-5


def test_autocast():
    inputs = _tensors(*[(2, 3, 40, 16)] * 3, dtype=torch.float32)
    mask = torch.randn(40, 40)
    with torch.autocast("cpu", torch.bfloat16):  # the backwards, too: tiles stay in float32
        found = _second(lambda *x: fused_attention(*x, attn_mask=mask), inputs)
        inside = _second(lambda *x: fused_attention(*x, attn_mask=mask.bfloat16()), [t.bfloat16() for t in inputs])
    assert found[0].dtype == torch.bfloat16
    assert all(t.dtype == torch.float32 for t in found[1:])
    assert _error(found[1:4], inside[1:4]) < 1e-6
    exact = [t.detach().double().requires_grad_() for t in inputs]
    assert _error(found, _second(lambda *x: _whole(*x, attn_mask=mask.double()), exact)) < 5e-2


class Largest(TorchDispatchMode):
    """The largest tensor that an operation puts out."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        for t in output if isinstance(output, tuple) else (output,):
            if isinstance(t, torch.Tensor) and t._base is None:
                self.numbers = max(self.numbers, t.numel())
        return output


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": torch.ones(400).bool()}])
def test_no_tensor_has_an_entry_for_each_pair_of_places(options, monkeypatch):
    monkeypatch.setattr(operands, "CPU_TILE", 4000)
    inputs = _tensors(*[(1, 2, 400, 8)] * 3)
    with Largest() as ours:
        _second(lambda *x: fused_attention(*x, **options), inputs)
    with Largest() as whole:
        _second(lambda *x: _whole(*x, **options), inputs)
    assert ours.numbers <= 2 * 400 * 16
    assert whole.numbers == 2 * 400 * 400


def test_a_third_derivative_is_refused():
    (x,) = _tensors((1, 1, 3, 2))
    (first,) = torch.autograd.grad(fused_attention(x, x, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"third derivative.*eager"):
        torch.autograd.grad(first.sum(), x, create_graph=True)


def test_frozen_inputs():
    q, k, v = _tensors(*[(2, 3, 7, 4)] * 3)
    k, v = k.detach(), v.detach()
    found, expected = (_second(lambda q, f=f: f(q, k, v), [q]) for f in (fused_attention, _whole))
    assert _error(found, expected) < 1e-12
    assert fused_attention(k, k, v).grad_fn is None
