"""LayerNorm with a double backward in closed form.

With n the normalised input, r = 1 / std, a = w dy, P(v) = v - mean(v) - n mean(v n):
    dx = r P(a)
    double backward, u the gradient at dx, p = r P(u):
    d dy = w p,    d w = sum of dy p over the other dimensions,
    d x = - r (mean(u n) dx + mean(a n) p + mean(u dx) n)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.fusing import layer_norm_double_backward, layer_norm_kernel
from hf_guidance.second_order.passes import in_first_derivative, refuse_third_derivative, wanted


def _backward(dy: Tensor, x: Tensor, shape: Any, statistics: Any, weight: Any, bias: Any, mask: list[bool]) -> Any:
    return torch.ops.aten.native_layer_norm_backward(dy, x, shape, *statistics, weight, bias, mask)


class LayerNorm(Function):
    """LayerNorm over the last dimensions, with weight and bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: Any, weight: Tensor, bias: Tensor, eps: float, leaves: Any) -> Tensor:
        """Normalise; ``leaves`` = (weight is a leaf, bias is a leaf)."""
        y, mean, rstd = torch.ops.aten.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.shape, ctx.leaves, ctx.kernel = shape, leaves, layer_norm_kernel(x, weight, mean, rstd)
        result: Tensor = y
        return result

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients that the running pass needs (see passes.py)."""
        x, weight, bias, mean, rstd = ctx.saved_tensors
        need_x = ctx.needs_input_grad[0]
        need_weight = wanted(ctx.needs_input_grad[2], ctx.leaves[0])
        need_bias = wanted(ctx.needs_input_grad[3], ctx.leaves[1])
        first = in_first_derivative()
        given = (dy, x, weight, mean, rstd, ctx.shape, ctx.kernel)
        dx = LayerNormGradient.apply(*given) if need_x and first else None
        mask = [need_x and not first, need_weight, need_bias]
        rest = _backward(dy, x, ctx.shape, (mean, rstd), weight, bias, mask) if any(mask) else (None, None, None)
        return (
            dx if first else rest[0],
            None,
            rest[1] if need_weight else None,
            rest[2] if need_bias else None,
            None,
            None,
        )


class LayerNormGradient(Function):
    """``dx`` of LayerNorm, with the double backward above."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor, shape: Any, kernel: Any
    ) -> Tensor:
        """``r P(w dy)``; ``kernel`` as layer_norm_kernel gives it."""
        dx: Tensor = _backward(dy, x, shape, (mean, rstd), weight, None, [True, False, False])[0]
        ctx.save_for_backward(dy, x, weight, mean, rstd)
        ctx.shape, ctx.kernel = shape, kernel
        return dx

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients at ``dy``, ``x`` and the weight."""
        refuse_third_derivative()
        dy, x, weight, mean, rstd = ctx.saved_tensors
        need_dy, need_x, need_weight = ctx.needs_input_grad[:3]
        if ctx.kernel is not None and need_dy and need_x and need_weight:
            return *layer_norm_double_backward(ctx.kernel, u, dy, x, weight, mean, rstd), None, None, None, None
        p = _backward(u, x, ctx.shape, (mean, rstd), None, None, [True, False, False])[0]
        ddy = p * weight if need_dy else None
        dweight = (dy * p).flatten(0, -len(ctx.shape) - 1).sum(0) if need_weight else None
        ddx = _at_input(u, p, dy, x, weight, mean, rstd, ctx.shape) if need_x else None
        return ddy, ddx, dweight, None, None, None, None


def _at_input(
    u: Tensor, p: Tensor, dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor, shape: Any
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    dx = _backward(dy, x, shape, (mean, rstd), weight, None, [True, False, False])[0]
    n = (x - mean).mul_(rstd)
    product = torch.mul(u, n)
    by_dx = product.sum(dims, keepdim=True)
    by_n = torch.mul(u, dx, out=product).sum(dims, keepdim=True)
    by_p = torch.mul(dy, n, out=product).mul_(weight).sum(dims, keepdim=True)
    scale = rstd / -weight.numel()
    return n.mul_(by_n.mul_(scale)).addcmul_(dx, by_dx.mul_(scale)).addcmul_(p, by_p.mul_(scale))
