"""BatchNorm in train mode, over the batch's own statistics, with a double backward in closed form.

Per channel, over its M numbers in the batch, with n the normalised input, r = 1 / std and
P(v) = v - mean(v) - n mean(v n):
    dx = w r P(dy)
    double backward, u the gradient at dx:
    d dy = w r P(u),    d w = M r c,    c = mean(u dy) - mean(u) mean(dy) - mean(u n) mean(dy n)
    d x = - w r² (mean(u n) P(dy) + mean(dy n) P(u) + c n)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.one_layout import in_one_layout
from hf_guidance.second_order.passes import in_first_derivative, refuse_third_derivative, wanted

PART = 1 << 19
"""How many numbers of a tensor are multiplied at once on a CPU."""


def _backward(dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, rstd: Tensor, eps: float, mask: Any) -> Any:
    dy = in_one_layout(dy, x)
    return torch.ops.aten.native_batch_norm_backward(dy, x, weight, None, None, mean, rstd, True, eps, mask)


class TrainingBatchNorm(Function):
    """BatchNorm in train mode; running statistics, if there are any, learn from the batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Any, bias: Any, running: tuple[Any, Any], momentum: float, eps: float, leaves: Any
    ) -> Tensor:
        """Normalise by the batch's statistics; ``leaves`` = (weight is a leaf, bias is a leaf)."""
        y, mean, rstd = torch.ops.aten.native_batch_norm(x, weight, bias, *running, True, momentum, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.eps, ctx.leaves = eps, leaves
        result: Tensor = y
        return result

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients that the running pass needs (see passes.py)."""
        x, weight, mean, rstd = ctx.saved_tensors
        need_x = ctx.needs_input_grad[0]
        need_weight = wanted(ctx.needs_input_grad[1], ctx.leaves[0])
        need_bias = wanted(ctx.needs_input_grad[2], ctx.leaves[1])
        first = in_first_derivative()
        dx = TrainingBatchNormGradient.apply(dy, x, weight, mean, rstd, ctx.eps) if need_x and first else None
        mask = [need_x and not first, need_weight, need_bias]
        rest = _backward(dy, x, weight, mean, rstd, ctx.eps, mask) if any(mask) else (None, None, None)
        return (
            dx if first else rest[0],
            rest[1] if need_weight else None,
            rest[2] if need_bias else None,
            None,
            None,
            None,
            None,
        )


class TrainingBatchNormGradient(Function):
    """``dx`` of BatchNorm in train mode, with the double backward above."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, rstd: Tensor, eps: float
    ) -> Tensor:
        """``w r P(dy)``."""
        dx, along, total = _backward(dy, x, weight, mean, rstd, eps, [True, True, True])
        ctx.save_for_backward(dy, x, weight, mean, rstd, along, total)
        ctx.eps = eps
        result: Tensor = dx
        return result

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients at ``dy``, ``x`` and the weight."""
        refuse_third_derivative()
        dy, x, weight, mean, rstd, along, total = ctx.saved_tensors
        need_dy, need_x, need_weight = ctx.needs_input_grad[:3]
        ddy, u_along, u_total = _backward(u, x, weight, mean, rstd, ctx.eps, [need_dy, True, True])
        if not (need_x or need_weight):
            return ddy, None, None, None, None, None
        count = x.numel() // x.shape[1]
        dy_n, dy_1, u_n, u_1 = (sums / count for sums in (along, total, u_along, u_total))
        c = _inner(u, dy, rstd.dtype) / count - u_1 * dy_1 - u_n * dy_n
        dweight = count * rstd * c if need_weight else None
        ddx = None
        if need_x:
            scale = -rstd.square() if weight is None else -rstd.square() * weight
            slope = scale * rstd * (c - 2 * u_n * dy_n)
            shift = -scale * (u_n * dy_1 + dy_n * u_1) - slope * mean
            ddx = _affine(x, slope, shift)
            ddx.addcmul_(dy, _wide(scale * u_n, x)).addcmul_(u, _wide(scale * dy_n, x))
        return ddy if need_dy else None, ddx, dweight, None, None, None


def _inner(u: Tensor, dy: Tensor, dtype: torch.dtype) -> Tensor:
    # Sum of u dy per channel. On a CPU the batch is cut into parts whose products fit into the cache.
    parts = max(1, u.numel() // PART) if u.device.type == "cpu" else 1
    found = torch.zeros(u.shape[1], dtype=dtype, device=u.device)
    for a, b in zip(u.chunk(parts), dy.chunk(parts), strict=True):
        a, b = (v.to(dtype).reshape(*v.shape[:2], -1) for v in (a, b))
        found += torch.linalg.vecdot(a, b).sum(0)
    return found


def _affine(x: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    # slope x + shift per channel, by the kernel of BatchNorm, which is fast on small maps.
    one = torch.ones_like(slope)
    y: Tensor = torch.ops.aten.native_batch_norm(x, slope, shift, torch.zeros_like(one), one, False, 0.0, 0.0)[0]
    return y


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *[1] * (like.dim() - 2))
