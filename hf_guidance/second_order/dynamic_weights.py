"""Dynamic weights: layers ``y = W(x) x`` whose weights may count as constants in a first differentiation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["dynamic_weights_fixed", "fixed_dynamic_weights"]


class _Depth:
    value = 0  # plain, not thread-local: autograd runs the nodes of a GPU in threads of its own


@contextmanager
def fixed_dynamic_weights() -> Iterator[None]:
    """Differentiate with W(x) held fixed ("explanation mode" of arXiv 2205.10268), so that the gradient is W(x) itself.

    Surround ``autograd.grad`` only. With ``create_graph`` its result can be differentiated again outside, and there W(x)
    depends on x and on the parameters as it does in the forward pass: nothing is detached.

    Layers take part whose backward asks ``dynamic_weights_fixed``: those of the B-cos models.

    Example:
        >>> with fixed_dynamic_weights():
        ...     (weight,) = torch.autograd.grad(logits.sum(), pixels, create_graph=True)
    """
    _Depth.value += 1
    try:
        yield
    finally:
        _Depth.value -= 1


def dynamic_weights_fixed() -> bool:
    """Whether ``fixed_dynamic_weights`` is open."""
    return _Depth.value > 0
