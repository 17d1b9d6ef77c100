"""The product of a linear response and the factor that makes its weights dynamic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.dynamic_weights import dynamic_weights_fixed


class DynamicProduct(Function):
    """``y = linear * factor``; under ``fixed_dynamic_weights`` the factor is a constant."""

    @staticmethod
    def forward(ctx: Any, linear: Tensor, factor: Tensor) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(linear, factor)
        return linear * factor

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of the current backward pass, made of differentiable operations."""
        linear, factor = ctx.saved_tensors
        free = ctx.needs_input_grad[1] and not dynamic_weights_fixed()
        return dy * factor if ctx.needs_input_grad[0] else None, dy * linear if free else None


def bcos_response(linear: Tensor, norm: Tensor, b: float, offset: float) -> Tensor:
    """``y = linear * |cos|^(b - 1)`` with ``|cos| = |linear| / norm`` (arXiv 2205.10268, eq. 3).

    Args:
        linear: ``w . x`` for filters w of length 1.
        norm: ``|x|``; broadcasts against ``linear``.
        b: Exponent; at 1 the layer is linear.
        offset: Added to ``|cos|`` before a power other than 1 is taken; for b below 2 its slope at 0 would be infinite.

    Returns:
        The response, in the shape of ``linear``.
    """
    if b == 1:
        return linear
    cosine = linear.abs() / norm
    factor = cosine if b == 2 else (cosine + offset) ** (b - 1)
    y: Tensor = DynamicProduct.apply(linear, factor)
    return y


def largest_of(linear: Tensor, count: int, dim: int) -> Tensor:
    """The largest of every ``count`` consecutive entries along ``dim`` (MaxOut)."""
    return linear if count == 1 else linear.unflatten(dim, (-1, count)).max(dim + 1 if dim >= 0 else dim).values


def check_exponents(name: str, b: float, max_out: int) -> None:
    """Refuse values of b and max_out that do not define a B-cos layer.

    Raises:
        ValueError: ``b`` is not a finite number of at least 1, or ``max_out`` is not a whole number of at least 1.
    """
    if not isinstance(b, int | float) or not 1 <= b < float("inf"):
        raise ValueError(
            f"{name}(b={b!r}) must be at least 1 and a number (1 is a linear layer, the published nets have 2)."
        )
    if not isinstance(max_out, int) or max_out < 1:
        raise ValueError(
            f"{name}(max_out={max_out!r}) must be at least 1 and whole: the number of filters that an output chooses from."
        )


def autocast(tensor: Tensor) -> Tensor:
    """Cast to the dtype of the surrounding autocast, as autocast does for a convolution; double precision stays."""
    device = tensor.device.type
    if not torch.is_autocast_enabled(device) or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))
