"""What the tests of fused and of compiled kernels share."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from hf_guidance.second_order import fast_double_backward, first_derivative, fused_kernels

OPERATIONS = {
    "gelu": (F.gelu, [(2, 3, 5)]),
    "gelu of a transposed input": (lambda x: F.gelu(x.mT), [(2, 3, 5)]),
    "gelu of every other number": (lambda x: F.gelu(x[..., ::2]), [(2, 3, 6)]),
    "gelu, channels last": (lambda x: F.gelu(x.contiguous(memory_format=torch.channels_last)), [(2, 3, 4, 2)]),
    "gelu of one row repeated": (lambda x: F.gelu(x.expand(4, 3)), [(1, 3)]),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [(2, 3, 5), (5,), (5,)]),
    "layer norm, two dimensions": (lambda x, w, b: F.layer_norm(x, (3, 5), w, b), [(2, 3, 5), (3, 5), (3, 5)]),
    "layer norm of a transposed input": (lambda x, w, b: F.layer_norm(x.mT, (3,), w, b), [(2, 3, 5), (3,), (3,)]),
}


def fused(operation):
    """An operation with a fused double backward."""

    def run(*inputs):
        with fused_kernels(), fast_double_backward():
            return operation(*inputs)

    return run


def own(operation):
    """One with a double backward of PyTorch's own kernels."""

    def run(*inputs):
        with fast_double_backward():
            return operation(*inputs)

    return run


def second(run, inputs, dtype=None):
    """Gradients of a function of an output and of its gradient at the first input."""
    inputs = [t.detach().to(dtype or t.dtype).requires_grad_() for t in inputs]
    output = run(*inputs)
    with first_derivative():
        (dx,) = torch.autograd.grad((output * output.cos()).sum(), inputs[0], create_graph=True)
    return torch.autograd.grad((dx * inputs[0].detach().sin()).sum() + output.square().sum(), inputs)


def error(found, expected):
    return max(
        ((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in zip(found, expected, strict=True)
    )


def random_inputs(name):
    operation, shapes = OPERATIONS[name]
    return operation, [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def both_operations(x, w, b):
    return F.layer_norm(F.gelu(x), x.shape[-1:], w, b)
