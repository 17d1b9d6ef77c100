"""Dynamic weights: layers ``y = W(x) x`` whose weights may count as constants in a first differentiation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["dynamic_weights_fixed", "fixed_dynamic_weights"]


class _Depth:
    value = 0  # not thread-local, because autograd runs the nodes of a GPU in other threads


@contextmanager
def fixed_dynamic_weights() -> Iterator[None]:
    """Differentiate with W(x) held fixed ("explanation mode" of arXiv 2205.10268), so that the gradient is W(x) itself.

    Put only the call of ``autograd.grad`` inside. With ``create_graph`` its result can be differentiated again outside;
    there W(x) depends on x and on the parameters as in the forward pass, because nothing is detached.

    Only layers whose backward asks ``dynamic_weights_fixed`` are affected: those of the B-cos models.

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
