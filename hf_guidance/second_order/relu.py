"""ReLU whose double backward gives its input no gradient; autograd would write, carry and add a tensor of zeros there.

y = max(x, 0),    dx = dy [y > 0]
double backward, u the gradient at dx:    d dy = u [y > 0],    d x = 0 almost everywhere
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.second_order.passes import in_first_derivative, refuse_third_derivative


class Relu(Function):
    """ReLU, with a new output or in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        """``max(x, 0)``."""
        y: Tensor = torch.ops.aten.relu_(x) if inplace else torch.ops.aten.relu(x)
        if inplace:
            ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        """``dy [y > 0]``."""
        (y,) = ctx.saved_tensors
        dx: Tensor = ReluGradient.apply(dy, y) if in_first_derivative() else _where_positive(dy, y)
        return dx, None


class ReluGradient(Function):
    """``dx`` of ReLU, with the double backward above."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, y: Tensor) -> Tensor:
        """``dy [y > 0]``."""
        ctx.save_for_backward(y)
        return _where_positive(dy, y)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, None]:
        """Gradient at ``dy``."""
        refuse_third_derivative()
        (y,) = ctx.saved_tensors
        return _where_positive(u, y) if ctx.needs_input_grad[0] else None, None


def _where_positive(gradient: Tensor, y: Tensor) -> Tensor:
    kept: Tensor = torch.ops.aten.threshold_backward(gradient, y, 0)
    return kept
