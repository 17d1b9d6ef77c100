"""Hard sigmoid (arXiv 1905.02244, section 5.2) with a double backward, which PyTorch's own lacks.

y = min(max(x + 3, 0), 6) / 6,    dx = dy [-3 < x < 3] / 6
double backward, u the gradient at dx:    d dy = u [-3 < x < 3] / 6,    d x = 0 almost everywhere
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class HardSigmoid(Function):
    """Hard sigmoid, with a new output or in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        """``min(max(x + 3, 0), 6) / 6``."""
        # What PyTorch's own function saves: under gradient checkpointing that one may run the second time.
        ctx.save_for_backward(x.clone() if inplace else x)
        if not inplace:
            return torch.ops.aten.hardsigmoid(x)  # type: ignore[no-any-return]
        ctx.mark_dirty(x)
        return torch.ops.aten.hardsigmoid_(x)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        """``dy [-3 < x < 3] / 6``, of operations that autograd differentiates again."""
        (x,) = ctx.saved_tensors
        return dy * ((x > -3) & (x < 3)).to(dy.dtype) / 6, None
