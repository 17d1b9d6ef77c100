"""GELU whose derivative is evaluated once for all passes, with a double backward of few temporaries.

    y = x Phi(x),    dx = s dy    with the slope s = Phi(x) + x phi(x)
    double backward, u the gradient at dx:    d dy = s u,    d x = u dy phi(x) (2 - x^2)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from hf_guidance.second_order.passes import in_first_derivative


class Gelu(Function):
    """Exact GELU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """``x Phi(x)``."""
        ctx.save_for_backward(x)
        ctx.slope = None
        y: Tensor = torch.ops.aten.gelu(x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        """``s dy``; the error function in s costs more than all the rest, so s outlives the first derivative."""
        (x,) = ctx.saved_tensors
        slope, ctx.slope = ctx.slope, None
        if not in_first_derivative():
            dx: Tensor = torch.ops.aten.gelu_backward(dy, x) if slope is None or torch.is_grad_enabled() else slope * dy
            return dx
        if slope is None:
            slope = torch.ops.aten.gelu_backward(x.new_ones(()).expand_as(x), x.detach())
        ctx.slope = slope
        first: Tensor = GeluGradient.apply(dy, x, slope)
        return first


class GeluGradient(Function):
    """``dx = s dy`` and its own backward."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, x: Tensor, slope: Tensor) -> Tensor:
        """``s dy``."""
        ctx.save_for_backward(dy, x, slope)
        return slope * dy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients at ``dy`` and ``x``."""
        dy, x, slope = ctx.saved_tensors
        ddy = slope * u if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return ddy, None, None
        return ddy, curvature(x).mul_(u).mul_(dy), None


def curvature(x: Tensor) -> Tensor:
    """Second derivative ``phi(x) (2 - x^2)`` of exact GELU, in three passes over memory."""
    norm = x.new_full((), math.sqrt(2 / math.pi))
    exponent = torch.addcmul(torch.zeros_like(norm), x, x, value=-0.5)
    density = exponent.exp()
    return density.mul_(torch.add(norm, exponent, alpha=math.sqrt(2 / math.pi), out=exponent))
