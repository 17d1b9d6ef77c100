"""Hard sigmoid has PyTorch's values and, unlike PyTorch's own, a double backward."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hf_guidance.second_order import fast_double_backward, first_derivative

X = torch.linspace(-5, 5, 42, dtype=torch.float64)  # no value at -3 or 3


def fast(operation, x):
    with fast_double_backward():
        return operation(x)


def composed(x):
    return (x + 3).clamp(0, 6) / 6


def explained(operation, x):
    y = operation(x.square())
    with first_derivative():
        (dx,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    return (dx * x).square().sum() + y.sum()


OPERATIONS = {
    "plain": F.hardsigmoid,
    "in place": lambda x: F.hardsigmoid(x + 0, inplace=True),
    "module": torch.nn.Hardsigmoid(inplace=False),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_equals_its_formula(name):
    x = X.clone().requires_grad_()
    assert torch.equal(fast(OPERATIONS[name], x), F.hardsigmoid(x))
    assert gradcheck(lambda x: fast(OPERATIONS[name], x), [x])
    assert gradgradcheck(lambda x: fast(OPERATIONS[name], x), [x])
    ours, theirs = (
        torch.autograd.grad(explained(run, x), x)[0] for run in (lambda x: fast(OPERATIONS[name], x), composed)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_plain_autograd_cannot():
    x = X.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="hardsigmoid_backward is not implemented"):
        torch.autograd.grad(explained(F.hardsigmoid, x), x)


@pytest.mark.parametrize("name", ["plain", "in place"])
def test_checkpointed_regions_have_it_too(name):
    x = X.clone().requires_grad_()

    def checkpointed(x):
        return fast(lambda x: checkpoint(OPERATIONS[name], x, use_reentrant=False), x)

    ours, theirs = (torch.autograd.grad(explained(run, x), x)[0] for run in (checkpointed, composed))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
