"""BatchNorm that divides by the standard deviation and neither subtracts the mean nor adds a bias.

y = k x,   k = weight / sqrt(var + eps)
dynamic weights fixed:   dx = k dy
its backward, u at dx:   d dy = k u,   dk = sum of u dy over the batch and the places
backward, g at y:        dk' = dk + sum of g x,   d weight = dk' / sqrt(var + eps),
                         dx = k g - (x - mean) weight dk' / (n (var + eps)^(3/2))      (the second part in training)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from hf_guidance.second_order.dynamic_weights import dynamic_weights_fixed

_BATCH = (0, 2, 3)


class UncenteredBatchNorm2d(_BatchNorm):
    """``y = weight x / sqrt(var + eps)``: a bias-free layer for B-cos nets (arXiv 2306.10898).

    ``var`` is the ordinary biased variance of the batch (around its mean; only x is not centred), in evaluation the running
    one. The running variance learns from the biased variance; ``running_mean`` is not used, but is kept in checkpoints.
    ``1 / sqrt(var + eps)`` is a dynamic weight: ``fixed_dynamic_weights`` holds it constant in a first differentiation, in
    which images therefore do not depend on each other, even in training.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Share of the batch's variance in the new running variance; None averages over all batches.

    Example:
        >>> UncenteredBatchNorm2d(4)(torch.rand(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """Weight 1, running variance 1."""
        self.reset_running_stats()
        nn.init.ones_(self.weight)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() != 4:
            raise ValueError(
                f"UncenteredBatchNorm2d got {tuple(input.shape)}; (batch, channels, height, width) is needed."
            )

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width)."""
        self._check_input_dim(x)
        running = self.running_var
        if not self.training and running is not None:
            y: Tensor = UncenteredScale.apply(x, self.weight, running, self.eps)[0]
            return y
        y, _, var = UncenteredScale.apply(x, self.weight, None, self.eps)
        if self.training and self.track_running_stats and running is not None:
            self._learn(running, var)
        return y

    @torch.no_grad()
    def _learn(self, running: Tensor, var: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        if self.momentum is None:
            running.lerp_(var.to(running.dtype), 1.0 / self.num_batches_tracked.to(running.dtype))
        else:
            running.lerp_(var.to(running.dtype), self.momentum)


class UncenteredScale(Function):
    """``y = k x``; also returns k (for its own double backward only) and the variance."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, running: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scale by the running variance, or by that of the batch if ``running`` is None."""
        mean, var = _statistics(x) if running is None else (None, running)
        inverse = (var + eps).rsqrt_()
        scale = weight * inverse
        ctx.save_for_backward(x, weight, mean, inverse, scale)
        ctx.eps, ctx.running = eps, running
        ctx.mark_non_differentiable(var)
        ctx.set_materialize_grads(False)
        return x * _wide(scale, x), scale, var

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, dscale: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """Gradients of the current backward pass."""
        x, weight, mean, inverse, scale = ctx.saved_tensors
        if dscale is None:
            if g is None:
                return None, None, None, None
            if dynamic_weights_fixed():
                return FixedScaleGradient.apply(g, scale), None, None, None
            if torch.is_grad_enabled():
                return *_by_autograd(ctx, x, weight, g), None, None
        _refuse_third_derivative()
        if g is not None:
            along = (g * x).sum(_BATCH, dtype=scale.dtype)
            dscale = along if dscale is None else dscale + along
        assert dscale is not None
        dx = _input_gradient(g, dscale, x, weight, mean, inverse, scale) if ctx.needs_input_grad[0] else None
        return dx, dscale * inverse if ctx.needs_input_grad[1] else None, None, None


class FixedScaleGradient(Function):
    """``dx = k dy`` and its own backward."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, scale: Tensor) -> Tensor:
        """Gradient at the input with dynamic weights fixed."""
        ctx.save_for_backward(dy, scale)
        return dy * _wide(scale, dy)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, Tensor]:
        """Gradients at dy and k."""
        _refuse_third_derivative()
        dy, scale = ctx.saved_tensors
        ddy = u * _wide(scale, u) if ctx.needs_input_grad[0] else None
        return ddy, (u * dy).sum(_BATCH, dtype=scale.dtype)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    # Two passes: the mean of squares minus the squared mean would lose its digits; torch's var_mean is ten times slower on CPU.
    exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean = exact.mean(_BATCH)
    centred = exact - _wide(mean, exact)
    return mean, centred.mul_(centred).mean(_BATCH)


def _input_gradient(
    g: Tensor | None, dscale: Tensor, x: Tensor, weight: Tensor, mean: Tensor | None, inverse: Tensor, scale: Tensor
) -> Tensor | None:
    if mean is None:
        return None if g is None else g * _wide(scale, g)
    slope = dscale * weight * inverse**3 / -(x.numel() // x.shape[1])
    dx = torch.addcmul(_wide(-slope * mean, x), x, _wide(slope, x))
    return dx if g is None else dx.addcmul_(g, _wide(scale, g))


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, 1, 1)


def _by_autograd(ctx: Any, x: Tensor, weight: Tensor, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    # An ordinary gradient that will be differentiated again: plain operations have derivatives of any order.
    var = x.var(_BATCH, correction=0) if ctx.running is None else ctx.running
    y = x * _wide(weight * (var + ctx.eps).rsqrt(), x)
    needs = ctx.needs_input_grad
    sought = [tensor for tensor, need in ((x, needs[0]), (weight, needs[1])) if need]
    found = iter(torch.autograd.grad(y, sought, g, create_graph=True))
    return next(found) if needs[0] else None, next(found) if needs[1] else None


def _refuse_third_derivative() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a third derivative (create_graph=True while differentiating a gradient taken inside fixed_dynamic_weights) of "
            "UncenteredBatchNorm2d does not exist."
        )
