"""Where fused attention is called: by modules, inside the mode, under checkpointing and other saved-tensor hooks."""

from __future__ import annotations

import copy
import logging
import pickle
from contextlib import nullcontext

import pytest
import torch
from timm.layers import Attention as TimmAttention
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from hf_guidance.second_order import fast_double_backward, first_derivative
from hf_guidance.second_order.attention import carry_attention_mode, fused, fused_attention


class Attending(nn.MultiheadAttention):
    """Self-attention by torch.nn.MultiheadAttention, with one argument."""

    def __init__(self, **options):
        super().__init__(8, 2, batch_first=True, **options)
        self.calling = {"need_weights": False}

    def forward(self, x):
        return super().forward(x, x, x, **self.calling)[0]


def _timm():
    module = TimmAttention(8, num_heads=2, qkv_bias=True)
    module.fused_attn = True
    return module


MODULES = {"timm": _timm, "torch": Attending, "torch with extra keys": lambda: Attending(add_zero_attn=True)}


def _made(name):
    torch.manual_seed(0)
    return MODULES[name]().double(), torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)


def _gradients(call, module, x, mode):
    with mode:
        output = call(x)
    with first_derivative():
        (first,) = torch.autograd.grad(output.sin().sum(), x, create_graph=True)
    return torch.autograd.grad((first * x).square().sum() + output.sum(), [x, *module.parameters()], allow_unused=True)


def _equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def _expected(module, x):
    return _gradients(module, module, x, sdpa_kernel(SDPBackend.MATH))


@pytest.mark.parametrize("name", MODULES)
def test_in_the_mode(name, monkeypatch):
    module, x = _made(name)
    expected = _expected(module, x)
    seen = []
    monkeypatch.setattr(fused, "_attend", lambda *args, made=fused._attend: seen.append(1) or made(*args))
    _equal(_gradients(module, module, x, fast_double_backward(x)), expected)
    assert seen


def test_attention_weights_of_torch_in_the_mode():
    module, x = _made("torch")
    module.calling = {"need_weights": True}
    _equal(_gradients(module, module, x, fast_double_backward()), _expected(module, x))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("mode", [nullcontext, fast_double_backward])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_modules_that_carry_the_mode(name, mode, checkpointed):
    module, x = _made(name)
    expected = _expected(module, x)
    assert carry_attention_mode(nn.Sequential(module))
    assert carry_attention_mode(module)  # once more is as good as once
    assert len(module._forward_pre_hooks) == len(module._forward_hooks) == 1
    for carrying in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        call = (lambda x, m=carrying: checkpoint(m, x, use_reentrant=False)) if checkpointed else carrying
        _equal(_gradients(call, carrying, x, mode()), expected)


def test_what_carries_the_mode_leaves_it_after_an_error():
    module, x = _made("timm")
    carry_attention_mode(module)
    with pytest.raises(RuntimeError):
        module(x[..., :3])
    q = x[:, None]
    assert type(F.scaled_dot_product_attention(q, q, q).grad_fn).__name__ != "AttentionBackward"
    assert type(fused_attention(q, q, q).grad_fn).__name__ == "AttentionBackward"


def test_other_modules_carry_nothing():
    assert not carry_attention_mode(nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm(4)))


def test_checkpointing_in_the_mode_alone_is_refused():
    module, x = _made("timm")
    with (
        fast_double_backward(),
        pytest.raises(ValueError, match=r"gradient checkpointing.*use_differentiable_attention"),
    ):
        checkpoint(module, x, use_reentrant=False)


def test_tensors_that_are_saved_elsewhere():
    module, x = _made("timm")
    expected = _expected(module, x)
    packed = []

    def pack(t):
        packed.append(t.shape)
        return t.numpy() if not t.requires_grad else t.detach().numpy()

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, torch.from_numpy)
    with hooks, fast_double_backward(x):
        output = module(x)
    with hooks, first_derivative():
        (first,) = torch.autograd.grad(output.sin().sum(), x, create_graph=True)
    found = torch.autograd.grad((first * x).square().sum() + output.sum(), [x, *module.parameters()], allow_unused=True)
    assert packed
    _equal(found, expected)


@pytest.fixture
def said(caplog):
    fused._say.cache_clear()
    caplog.set_level(logging.WARNING, logger=fused.__name__)
    return caplog


def _second(attend, inputs):
    torch.manual_seed(1)
    output = attend(*inputs)
    gradients = torch.autograd.grad(output.sin().sum(), inputs, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs)


WHOLE = {
    "dropout": ([(1, 2, 5, 4)] * 3, lambda q, k, v: (q, k, v, None, 0.3)),
    "a mask that has a gradient": ([(1, 2, 5, 4)] * 3 + [(2, 5, 5)], lambda q, k, v, bias: (q, k, v, bias)),
    "values of another size": ([(1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 3)], lambda q, k, v: (q, k, v)),
}


@pytest.mark.parametrize("reason", WHOLE)
def test_what_is_made_of_whole_matrices_is_right_and_said_once(reason, said):
    shapes, arguments = WHOLE[reason]
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found = _second(lambda *x: fused_attention(*arguments(*x)), inputs)
    _second(lambda *x: fused_attention(*arguments(*x)), inputs)
    assert [reason in record.getMessage() for record in said.records] == [True]
    with sdpa_kernel(SDPBackend.MATH):
        expected = _second(lambda *x: F.scaled_dot_product_attention(*arguments(*x)), inputs)
    _equal(found, expected)


def test_transforms_of_torch_func(said):
    torch.manual_seed(0)
    q = torch.randn(3, 1, 2, 5, 4, dtype=torch.float64, requires_grad=True)

    def curvature(q):
        gradient = torch.func.grad(lambda x: fused_attention(x, x, x).sin().sum())
        return torch.func.grad(lambda x: gradient(x).square().sum())(q)

    found = torch.func.vmap(curvature)(q)
    for image, one in zip(q, found, strict=True):
        (gradient,) = torch.autograd.grad(fused_attention(image, image, image).sin().sum(), image, create_graph=True)
        _equal(torch.autograd.grad(gradient.square().sum(), image), [one])
    assert "torch.func" in said.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": torch.ones(1, 2, 5, 3)},
        {"key": torch.ones(1, 3, 5, 4)},
        {"key": torch.ones(1, 2, 5, 4).double()},
        {"attn_mask": torch.ones(4, 5).bool()},
        {"attn_mask": torch.ones(5, 5), "is_causal": True},
        {"key": torch.ones(1, 3, 5, 4), "value": torch.ones(1, 3, 5, 4), "enable_gqa": True},
    ],
)
def test_arguments_that_do_not_fit_raise_the_error_of_torch(wrong, said):
    given = {name: torch.ones(1, 2, 5, 4, requires_grad=True) for name in ("query", "key", "value")} | wrong
    with pytest.raises(RuntimeError) as ours:
        fused_attention(**given)
    with sdpa_kernel(SDPBackend.MATH), pytest.raises(RuntimeError) as theirs:
        F.scaled_dot_product_attention(**given)
    assert str(ours.value) == str(theirs.value)
    assert not said.records
