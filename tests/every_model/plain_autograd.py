"""A mode in which autograd itself can differentiate a model twice: operations that it cannot are composed of ones that it can.

Nothing of the library is used, so that the result can be compared with the library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def plain_autograd() -> Iterator[None]:
    """Attention of whole matrices, hard sigmoid as a clamp, and vectors of zeros normalised without a norm."""
    with sdpa_kernel(SDPBackend.MATH), _Composed():
        yield


class _Composed(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _COMPOSED.get(func, func)(*args, **(kwargs or {}))


def _hard_sigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    return _hard_sigmoid_(x) if inplace else (x + 3).clamp(0, 6) / 6


def _hard_sigmoid_(x: Tensor) -> Tensor:
    return x.add_(3).clamp_(0, 6).div_(6)


def _normalize(x: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Tensor:
    # The second derivative of a norm is NaN at zero, which the padding of windows is.
    assert p == 2.0
    assert out is None
    return x * x.square().sum(dim, keepdim=True).clamp_min(eps**2).rsqrt()


_COMPOSED: dict[Any, Callable[..., Any]] = {
    F.hardsigmoid: _hard_sigmoid,
    torch._C._nn.hardsigmoid: _hard_sigmoid,
    torch._C._nn.hardsigmoid_: _hard_sigmoid_,
    F.normalize: _normalize,
}
