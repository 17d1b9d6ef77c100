"""GELU with a double backward of few passes over memory.

y = x Phi(x),    dx = dy (Phi(x) + x phi(x))
double backward, u the gradient at dx:    d dy = u (Phi + x phi),    d x = u dy phi(x) (2 - x^2)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.fusing import gelu_double_backward, gelu_kernel
from hf_guidance.second_order.passes import in_first_derivative, refuse_third_derivative


class Gelu(Function):
    """Exact GELU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """``x Phi(x)``."""
        ctx.save_for_backward(x)
        ctx.kernel = gelu_kernel(x)
        y: Tensor = torch.ops.aten.gelu(x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        """``dy (Phi + x phi)``."""
        (x,) = ctx.saved_tensors
        first = in_first_derivative()
        dx: Tensor = GeluGradient.apply(dy, x, ctx.kernel) if first else torch.ops.aten.gelu_backward(dy, x)
        return dx


class GeluGradient(Function):
    """``dx`` of GELU, with the double backward above."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, x: Tensor, kernel: Any) -> Tensor:
        """``dy (Phi + x phi)``; ``kernel`` as gelu_kernel gives it."""
        ctx.save_for_backward(dy, x)
        ctx.kernel = kernel
        dx: Tensor = torch.ops.aten.gelu_backward(dy, x)
        return dx

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients at ``dy`` and ``x``."""
        refuse_third_derivative()
        dy, x = ctx.saved_tensors
        if ctx.kernel is not None and all(ctx.needs_input_grad[:2]):
            return *gelu_double_backward(ctx.kernel, u, dy, x), None
        ddy = torch.ops.aten.gelu_backward(u, x) if ctx.needs_input_grad[0] else None
        return ddy, curvature(x).mul_(u).mul_(dy) if ctx.needs_input_grad[1] else None, None


def curvature(x: Tensor) -> Tensor:
    """Second derivative ``phi(x) (2 - x^2)`` of exact GELU, in three passes over memory (float16: four)."""
    scale = math.sqrt(2 / math.pi)
    constant = x.new_full((), scale)
    exponent = torch.addcmul(torch.zeros_like(constant), x, x, value=-0.5)
    if x.dtype == torch.float16:
        exponent.clamp_(min=-1e3)  # the square of 256 overflows, and 0 times infinity is not 0
    density = exponent.exp()
    return density.mul_(torch.add(constant, exponent, alpha=scale, out=exponent))
