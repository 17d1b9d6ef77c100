"""BatchNorm with fixed statistics, an affine map per channel, whose double backward is one kernel.

    y = w r (x - m) + b,    dx = w r dy
    double backward, u the gradient at dx:    d dy = w r u,    d w = r sum of u dy per channel

So the double backward is the first backward again, with input dy and mean zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.one_layout import in_one_layout
from hf_guidance.second_order.passes import in_first_derivative, refuse_third_derivative, wanted


def _backward(dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float, mask: Any) -> Any:
    dy = in_one_layout(dy, x)
    return torch.ops.aten.native_batch_norm_backward(dy, x, weight, mean, var, None, None, False, eps, mask)


class FixedBatchNorm(Function):
    """BatchNorm in evaluation mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Any, bias: Any, mean: Tensor, var: Tensor, eps: float, leaves: Any) -> Any:
        """Normalise by the running statistics; ``leaves`` = (weight is a leaf, bias is a leaf)."""
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps, ctx.leaves = eps, leaves
        return torch.batch_norm(x, weight, bias, mean, var, False, 0.0, eps, torch.backends.cudnn.enabled)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients that the running pass needs (see passes.py)."""
        x, weight, mean, var = ctx.saved_tensors
        need_x = ctx.needs_input_grad[0]
        need_weight = wanted(ctx.needs_input_grad[1], ctx.leaves[0])
        need_bias = wanted(ctx.needs_input_grad[2], ctx.leaves[1])
        first = in_first_derivative()
        dx = FixedBatchNormGradient.apply(dy, weight, mean, var, ctx.eps) if need_x and first else None
        mask = [need_x and not first, need_weight, need_bias]
        rest = _backward(dy, x, weight, mean, var, ctx.eps, mask) if any(mask) else (None, None, None)
        return (
            dx if first else rest[0],
            rest[1] if need_weight else None,
            rest[2] if need_bias else None,
            None,
            None,
            None,
            None,
        )


class FixedBatchNormGradient(Function):
    """``dx`` of BatchNorm with fixed statistics, with the double backward above."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        """``w r dy``."""
        ctx.save_for_backward(dy, weight, mean, var)
        ctx.eps = eps
        dx: Tensor = _backward(dy, dy, weight, mean, var, eps, [True, False, False])[0]
        return dx

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients at ``dy`` and the weight."""
        refuse_third_derivative()
        dy, weight, mean, var = ctx.saved_tensors
        need_dy, need_weight = ctx.needs_input_grad[:2]
        mask = [need_dy, need_weight, False]
        ddy, dweight, _ = _backward(u, dy, weight, torch.zeros_like(mean), var, ctx.eps, mask)
        return ddy if need_dy else None, dweight if need_weight else None, None, None, None
