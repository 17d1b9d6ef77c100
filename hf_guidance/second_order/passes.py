"""Which backward pass is running: the first derivative at an activation, or that of the loss at the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Depth:
    value = 0  # not thread-local, because autograd runs the nodes of a GPU in other threads


@contextmanager
def first_derivative() -> Iterator[None]:
    """Put the call of ``autograd.grad`` at activations inside: weights that are leaves get no gradient in that pass.

    Autograd does not tell a custom function that only the activation's gradient is wanted; without this the function
    would also compute gradients of the weights, which nobody reads. Operations that are not substituted are not
    affected.
    """
    _Depth.value += 1
    try:
        yield
    finally:
        _Depth.value -= 1


def in_first_derivative() -> bool:
    """Whether ``first_derivative`` is open."""
    return _Depth.value > 0


def wanted(needed: bool, leaf: bool) -> bool:
    """Whether the running pass computes the gradient of a weight or bias that requires one."""
    return needed and not (leaf and in_first_derivative())


def refuse_third_derivative() -> None:
    """Raise if a double backward is recorded: its formulas are not differentiated again, which would go unnoticed."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a third derivative (create_graph=True while differentiating a gradient) does not exist inside "
            "fast_double_backward; run the forward pass outside of it."
        )
