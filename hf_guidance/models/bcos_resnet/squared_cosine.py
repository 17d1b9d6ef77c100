"""The B-cos convolution with b = 2 as one function, with both of its backwards written by hand.

With a the convolution by unit filters, q the sum of squares over the patch and r = 1 / sqrt(q + 1e-6):

    f = |a| r,    y = a f
    dynamic weights fixed:   dx = conv^T(m),  m = dy f
    its backward, u at dx:   h = conv(u),  d dy = h f,  df = h dy,  d filters = weight gradient of (u, m)
    backward, g at y:        da = 2 g f + df sign(a) r,  t = sum over channels of (g y + df f),
                             dx = conv^T(da) - x spread(r^2 t),  d filters = weight gradient of (x, da)

The factor f and the unit filters are outputs beside y. Through them the second derivative hands its parts (df, d filters) to
the one backward that convolves, so that no convolution and no norm is computed twice. Saved are f, r and the unit filters,
beside x and y, which the neighbouring layers keep anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hf_guidance.models.bcos_resnet.patch_norm import box_spread, patch_squares, unit_filters
from hf_guidance.second_order.convolution import Geometry, InputGradient
from hf_guidance.second_order.dynamic_weights import dynamic_weights_fixed
from hf_guidance.second_order.passes import wanted


class SquaredCosine(Function):
    """``y = a |a| / |patch|``; also returns f and the unit filters, for its own double backward only."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry, plain: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute y; ``plain`` is the same function of differentiable operations."""
        kernel = (weight.shape[2], weight.shape[3])
        unit, stretch = unit_filters(weight)
        unit = unit.to(x.dtype)
        inverse = patch_squares(x, kernel, geometry).rsqrt_()
        linear = geometry.apply(x, unit)
        factor = linear.abs()
        _by_group(factor, geometry).mul_(inverse.unsqueeze(2).to(x.dtype))
        y = linear.mul_(factor)
        ctx.save_for_backward(x, weight, unit, stretch, inverse, factor, y)
        ctx.geometry, ctx.plain = geometry, plain
        ctx.set_materialize_grads(False)
        return y, factor, unit

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, df: Tensor | None, dunit: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of the current backward pass."""
        x, weight, unit, stretch, inverse, factor, y = ctx.saved_tensors
        needs = ctx.needs_input_grad[0], wanted(ctx.needs_input_grad[1], weight.is_leaf)
        if df is None and dunit is None:
            if g is None:
                return None, None, None, None
            if dynamic_weights_fixed():
                learns = ctx.needs_input_grad[1]
                return FixedGradient.apply(g, factor, unit, x.detach(), ctx.geometry, learns), None, None, None
            if torch.is_grad_enabled():
                return *_by_autograd(ctx.plain, x, weight, g, needs), None, None
        _refuse_third_derivative()
        dx, dfilters = _gradients(ctx.geometry, needs, g, df, (x, unit, inverse, factor, y))
        if needs[1]:
            dfilters = _sum(dfilters, dunit)
        return dx, None if dfilters is None else _through_length(dfilters, unit, stretch), None, None


class FixedGradient(Function):
    """``dx = conv^T(dy f)`` and its own backward. ``x`` gives shape and memory format only."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, factor: Tensor, unit: Tensor, x: Tensor, geometry: Geometry, learns: bool
    ) -> Tensor:
        """Gradient at the input with dynamic weights fixed."""
        masked = dy * factor
        ctx.save_for_backward(dy, factor, unit, masked)
        ctx.geometry, ctx.learns = geometry, learns
        dx: Tensor = InputGradient.apply(masked, unit, x, geometry)
        return dx

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients at dy, the factor and the unit filters."""
        _refuse_third_derivative()
        dy, factor, unit, masked = ctx.saved_tensors
        dunit = ctx.geometry.backward(masked, u, unit, False, [False, True, False])[1] if ctx.learns else None
        h = ctx.geometry.apply(u, unit)
        df = h * dy
        return h.mul_(factor) if ctx.needs_input_grad[0] else None, df, dunit, None, None, None


def _gradients(
    geometry: Geometry, needs: tuple[bool, bool], g: Tensor | None, df: Tensor | None, saved: tuple[Tensor, ...]
) -> tuple[Tensor | None, Tensor | None]:
    if g is None and df is None:
        return None, None
    x, unit, inverse, factor, y = saved
    product = None if g is None else g * y
    if df is not None:
        product = df * factor if product is None else product.addcmul_(df, factor)
    assert product is not None
    total = _by_group(product, geometry).sum(2, dtype=inverse.dtype) if needs[0] else None
    # The product is summed and not read again: the gradient at a is written into its memory.
    if df is None:
        da = torch.addcmul(g.new_zeros(()), g, factor, value=2, out=product)  # type: ignore[union-attr, arg-type]
    else:
        # df sign(a) in one pass (a leaky ReLU of slope -1); where a = 0, |a| gets the slope of its left side.
        da = torch.ops.aten.leaky_relu_backward.grad_input(df, y, -1.0, False, grad_input=product)
        _by_group(da, geometry).mul_(inverse.unsqueeze(2).to(da.dtype))
        if g is not None:
            da.addcmul_(g, factor, value=2)
    dfilters = geometry.backward(da, x, unit, False, [False, True, False])[1] if needs[1] else None
    if total is None:
        return None, dfilters
    dx: Tensor = InputGradient.apply(da, unit, x, geometry)
    grouped = _by_group(x, geometry)
    spread = box_spread(total.mul_(inverse.square()), grouped[:, :, 0], (unit.shape[2], unit.shape[3]), geometry)
    _by_group(dx, geometry).addcmul_(grouped, spread.unsqueeze(2).to(x.dtype), value=-1)
    return dx, dfilters


def _by_group(tensor: Tensor, geometry: Geometry) -> Tensor:
    # (batch, groups, channels of a group, height, width), a view.
    grouped: Tensor = tensor.unflatten(1, (geometry.groups, -1))
    return grouped


def _through_length(dunit: Tensor, unit: Tensor, stretch: Tensor) -> Tensor:
    # d weight = (G - unit <G, unit>) / |weight|
    gradient, direction = dunit.to(stretch.dtype), unit.to(stretch.dtype)
    along = (gradient * direction).flatten(1).sum(1).reshape(-1, 1, 1, 1)
    return torch.addcmul(gradient, direction, along, value=-1).mul_(stretch)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one.add_(other)


def _by_autograd(
    plain: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, g: Tensor, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    # An ordinary gradient that will be differentiated again: the plain operations have derivatives of any order.
    sought = [tensor for tensor, need in zip((x, weight), needs, strict=True) if need]
    found = iter(torch.autograd.grad(plain(x, weight), sought, g, create_graph=True) if sought else ())
    return next(found) if needs[0] else None, next(found) if needs[1] else None


def _refuse_third_derivative() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a third derivative (create_graph=True while differentiating a gradient taken inside fixed_dynamic_weights) of "
            "a B-cos layer does not exist; give the layer another b, such as 2.0 + 1e-9, whose derivatives are autograd's."
        )
