"""Which backward pass is running: the first derivative at an activation, or the one that collects the gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Depth:
    value = 0  # plain, not thread-local: autograd runs the nodes of a GPU in threads of its own


@contextmanager
def first_derivative() -> Iterator[None]:
    """Surround ``autograd.grad`` at activations: leaf weights get no gradient in that pass.

    Autograd cannot tell a custom function that only the activation's gradient is wanted, and would have it compute the
    weights' too, to throw them away. Operations that are not substituted are not affected.
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
    """Whether this pass computes the gradient of a weight or bias that requires one."""
    return needed and not (leaf and in_first_derivative())


def refuse_third_derivative() -> None:
    """Raise in a double backward that is recorded: its formulas are not differentiated again, which would go unnoticed."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a third derivative (create_graph=True while differentiating a gradient) does not exist inside "
            "fast_double_backward; run the forward pass outside of it."
        )
