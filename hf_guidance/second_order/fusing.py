"""The double backwards of exact GELU and LayerNorm as one kernel each, where a compiler is at hand.

By PyTorch's own kernels (gelu.py, layer_norm.py) they pass over whole activations five to twelve times. Here the same
formulas are compiled, and every tensor is read and written once, or twice from the cache. Half precision is computed in
float32 and rounded at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from hf_guidance.second_order.compiling import Formula, Kernel, can_run, kernel_of

_on: ContextVar[bool] = ContextVar("fused_kernels", default=False)


@contextmanager
def fused_kernels() -> Iterator[None]:
    """Inside, forward passes under ``fast_double_backward`` get compiled double backwards of exact GELU and LayerNorm.

    Without it, and by default, they are made of PyTorch's own kernels; both have the same gradients, up to rounding. Each
    is compiled when it is first met, for its dtype and device: seconds, the first up to a minute, with a C++ compiler on a
    CPU and triton on a GPU. Where compiling fails a warning says why, and the steps run as without it.

    The forward pass must be inside; its backward may run anywhere, in any thread.

    Example:
        >>> with fused_kernels(), fast_double_backward():
        ...     y = model(x)
    """
    token = _on.set(True)
    try:
        yield
    finally:
        _on.reset(token)


def gelu_kernel(x: Tensor) -> Kernel | None:
    """The kernel for the double backward of GELU at ``x``; None where it is to be made of PyTorch's own."""
    return kernel_of(_GELU, (x, x, x)) if _wanted(x, x.numel()) else None


def layer_norm_kernel(x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor) -> Kernel | None:
    """The kernel for the double backward of LayerNorm at ``x``; None likewise."""
    wanted = _wanted(x, weight.numel(), mean.numel(), x.numel())
    return kernel_of(_LAYER_NORM, (x, x, x, weight, mean, rstd)) if wanted else None


def _wanted(x: Tensor, *sizes: int) -> bool:
    # A step that is being recorded to be compiled as a whole is fused by its compiler.
    return type(x) is not FakeTensor and _on.get() and can_run(*sizes)


def gelu_double_backward(kernel: Kernel, u: Tensor, dy: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of GELU's ``dx`` at ``dy`` and ``x``, for ``u`` at it, in the memory layout of ``x``."""
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    laid = x.permute(order)
    back = sorted(range(x.dim()), key=order.__getitem__)
    ddy, ddx = kernel(*(t.permute(order).reshape(-1) for t in (u, dy, x)))
    return ddy.view(laid.shape).permute(back), ddx.view(laid.shape).permute(back)


def layer_norm_double_backward(
    kernel: Kernel, u: Tensor, dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of LayerNorm's ``dx`` at ``dy``, ``x`` and the weight, for ``u`` at it."""
    rows, features = mean.numel(), weight.numel()
    of_rows = (t.reshape(rows, features) for t in (u, dy, x))
    statistics = (t.reshape(rows, 1) for t in (mean, rstd))
    ddy, ddx, by_row = kernel(*of_rows, weight.reshape(features), *statistics)
    # The sum over rows is PyTorch's: a compiled one adds them one by one, and loses digits.
    dweight = by_row.sum(0).to(weight.dtype).view(weight.shape)
    return ddy.view(x.shape), ddx.view(x.shape), dweight


def flat_gelu(u: Tensor, dy: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``u (Phi + x phi)`` and ``u dy phi (2 - x^2)``; all tensors (numbers,)."""
    dtype = x.dtype
    u, dy, x = _exact(u), _exact(dy), _exact(x)
    square = (x * x).clamp(max=1e4)  # beyond, phi is 0, and 0 times infinity would not be
    density = torch.exp(-0.5 * square) * (1 / math.sqrt(2 * math.pi))
    share = 0.5 * (1 + torch.erf(x * math.sqrt(0.5)))
    return (u * (share + x * density)).to(dtype), (u * dy * density * (2 - square)).to(dtype)


def flat_layer_norm(
    u: Tensor, dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As layer_norm.py has it: ``w p``, ``- r (mean(u n) dx + mean(a n) p + mean(u dx) n)``, and ``dy p`` before its sum.

    ``mean(u dx) = r (mean(u a) - mean(u) mean(a) - mean(u n) mean(a n))``, so that all means are taken in one pass.

    Args:
        u: Gradient at ``dx``, (rows, features); so ``dy`` and ``x``.
        dy: Gradient at the output.
        x: The input.
        weight: (features,).
        mean: Of the input, (rows, 1); so ``rstd``.
        rstd: 1 / standard deviation.
    """
    dtype = x.dtype
    u, dy, x, weight, mean, rstd = (_exact(t) for t in (u, dy, x, weight, mean, rstd))
    n, a = (x - mean) * rstd, weight * dy
    of_u, of_a, of_un, of_an, of_ua = (t.mean(-1, keepdim=True) for t in (u, a, u * n, a * n, u * a))
    p = rstd * (u - of_u - n * of_un)
    dx = rstd * (a - of_a - n * of_an)
    by_dx = rstd * (of_ua - of_u * of_a - of_un * of_an)
    return (p * weight).to(dtype), (-rstd * (of_un * dx + of_an * p + by_dx * n)).to(dtype), dy * p


def _exact(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


_NUMBERS, _ROWS = ("numbers",), ("rows", "features")
_GELU = Formula("double backward of GELU", flat_gelu, (_NUMBERS, _NUMBERS, _NUMBERS))
_LAYER_NORM = Formula(
    "double backward of LayerNorm", flat_layer_norm, (_ROWS, _ROWS, _ROWS, ("features",), ("rows", "1"), ("rows", "1"))
)
