"""Attention as a function whose gradients can be differentiated once more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.attention.double_backward import double_backward
from hf_guidance.second_order.attention.kernels import attend, first_backward
from hf_guidance.second_order.attention.operands import Operands
from hf_guidance.second_order.attention.pattern import Pattern


class Attention(Function):
    """``softmax(scale q k' + B) v``; saves q, k, v, the output and the log-sum-exp of the scores."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
        """Attend: q (batch, heads, queries, dims), k and v (batch, heads or a divisor of it, keys, dims)."""
        o, lse = attend(q, k, v, Pattern(mask, causal, scale))
        ctx.save_for_backward(q, k, v, mask, o, lse)
        ctx.options = causal, scale
        return o

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients at q, k and v."""
        q, k, v, mask, o, lse = ctx.saved_tensors
        dq, dk, dv = AttentionGradient.apply(g, q, k, v, mask, o.detach(), lse, *ctx.options)
        return dq, dk, dv, None, None, None


class AttentionGradient(Function):
    """``(dq, dk, dv)``, with the double backward of double_backward.py."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, o: Tensor, lse: Tensor | None,
        causal: bool, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """The first backward."""
        ctx.save_for_backward(g, q, k, v, mask, o, lse)
        ctx.options = causal, scale
        return first_backward(g, q, k, v, o, lse, Pattern(mask, causal, scale))

    @staticmethod
    def backward(ctx: Any, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients at g, q, k and v.

        Raises:
            RuntimeError: They would be recorded, to be differentiated again.
        """
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a third derivative (create_graph=True while differentiating a gradient) does not exist through fused "
                "attention; use model.set_attn_implementation('eager'), for timm fused_attn=False, and leave "
                "fast_double_backward."
            )
        g, q, k, v, mask, o, lse = ctx.saved_tensors
        given = Operands.of(g, q, k, v, o, lse, Pattern(mask, *ctx.options))
        return *double_backward(a, b, c, given), None, None, None, None, None
