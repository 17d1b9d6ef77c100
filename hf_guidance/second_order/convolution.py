"""Convolution whose double backward calls the kernels of weight gradients.

    y = x * W + b,    dx = conv_transpose(dy, W)
    double backward, u the gradient at dx:    d dy = u * W,    dW = weight gradient of (input u, output gradient dy)

Autograd's own double backward builds that weight gradient from a transposed, dilated convolution; if the convolution is
grouped, group by group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from hf_guidance.second_order.passes import in_first_derivative, refuse_third_derivative, wanted

_Three = tuple[Tensor | None, Tensor | None, Tensor | None]
_SMALL = 64  # up to so many phase channels strided transposed kernels are slow (as in a stem, with 3 colours)


@dataclass(frozen=True)
class Geometry:
    """Hyperparameters of a convolution, one entry per spatial dimension."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The convolution."""
        zero = [0] * len(self.stride)
        y: Tensor = torch.ops.aten.convolution(
            x, weight, bias, self.stride, self.padding, self.dilation, False, zero, self.groups
        )
        return y

    def backward(self, dy: Tensor, x: Tensor, weight: Tensor, bias: bool, mask: list[bool]) -> _Three:
        """Gradients at input, weight and bias; None for those that ``mask`` leaves out."""
        sizes = [weight.shape[0]] if bias else None
        zero = [0] * len(self.stride)
        found: _Three = torch.ops.aten.convolution_backward(
            dy, x, weight, sizes, self.stride, self.padding, self.dilation, False, zero, self.groups, mask
        )
        return found


class Convolution(Function):
    """``y = x * W + b``, with the double backward above.

    Inside ``first_derivative`` weights and biases that are leaves get no gradient; outside of it the explained input gets
    none.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, skip: Any) -> Tensor:
        """Convolve; ``skip`` = (x is the explained leaf, weight is a leaf, bias is a leaf)."""
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.skip = geometry, skip
        return geometry.apply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients that the running pass needs (see passes.py)."""
        x, weight = ctx.saved_tensors
        explained, weight_leaf, bias_leaf = ctx.skip
        first = in_first_derivative()
        need_x = ctx.needs_input_grad[0] and (first or not explained)
        need_weight = wanted(ctx.needs_input_grad[1], weight_leaf)
        need_bias = wanted(ctx.needs_input_grad[2], bias_leaf)
        dx = InputGradient.apply(dy, weight, x.detach(), ctx.geometry) if need_x and first else None
        mask = [need_x and not first, need_weight, need_bias]
        rest = _gradients(ctx.geometry, dy, x, weight, mask) if any(mask) else (None, None, None)
        return dx if first else rest[0], rest[1], rest[2], None, None


class InputGradient(Function):
    """``dx = conv_transpose(dy, W)``, with the double backward above. Of ``x`` only shape and memory format are read."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, weight: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
        """``conv_transpose(dy, W)``."""
        ctx.save_for_backward(dy, weight)
        ctx.geometry = geometry
        if _is_stem(dy, weight, geometry):
            return stem_input_gradient(dy, weight, geometry, x.shape)
        dx = geometry.backward(dy, x, weight, False, [True, False, False])[0]
        assert dx is not None
        return dx

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        """``(u * W, weight gradient of (u, dy))``."""
        refuse_third_derivative()
        dy, weight = ctx.saved_tensors
        need_dy, need_weight = ctx.needs_input_grad[:2]
        ddy = ctx.geometry.apply(u, weight) if need_dy else None
        dweight = _gradients(ctx.geometry, dy, u, weight, [False, True, False])[1] if need_weight else None
        return ddy, dweight, None, None


def _gradients(geometry: Geometry, dy: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> _Three:
    depthwise = geometry.groups > 1 and weight.shape[1] == 1 and weight.shape[2:].numel() > 1
    if not (depthwise and mask[1] and x.device.type == "cpu" and x.dim() == 4):
        return geometry.backward(dy, x, weight, mask[2], mask)
    # The CPU kernel for depthwise weight gradients is 2.5 to 4 times faster on channels_last.
    dy, x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (dy, x, weight))
    return geometry.backward(dy, x, weight, mask[2], mask)


def _is_stem(dy: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    stride = geometry.stride
    return (
        dy.device.type == "cpu"
        and len(stride) == 2
        and stride[0] == stride[1] > 1
        and geometry.groups == 1
        and set(geometry.dilation) == {1}
        and (weight.shape[1] * stride[0] ** 2 <= _SMALL or tuple(weight.shape[2:]) == stride)
    )


def stem_input_gradient(dy: Tensor, weight: Tensor, geometry: Geometry, shape: torch.Size) -> Tensor:
    """Input gradient of a strided convolution by phases: one dense convolution of ``dy``, then a pixel shuffle.

    With s the stride and p the padding, the line of pixels ``s q + r - p`` of dx is ``sum_t dy[q - t] W[s t + r]``. So
    every phase r is an ordinary convolution with ``ceil(kernel / s)`` taps, and one convolution computes all phases as
    its output channels.

    Args:
        dy: (batch, out, height, width), the gradient at the output.
        weight: (out, in, kernel height, kernel width).
        geometry: Hyperparameters with equal strides, no dilation and one group.
        shape: Shape of the input.

    Returns:
        Gradient of shape ``shape``.
    """
    s = geometry.stride[0]
    out, channels = weight.shape[:2]
    taps = [-(-size // s) for size in weight.shape[2:]]
    missing = [t * s - size for t, size in zip(taps, weight.shape[2:], strict=True)]
    split = F.pad(weight, (0, missing[1], 0, missing[0])).reshape(out, channels, taps[0], s, taps[1], s)
    phases = split.permute(1, 3, 5, 0, 2, 4).flip(4, 5).reshape(channels * s * s, out, *taps)
    full = F.pixel_shuffle(F.conv2d(dy, phases, padding=(taps[0] - 1, taps[1] - 1)), s)
    top, left = geometry.padding
    lacking = [max(0, n + p - have) for n, p, have in zip(shape[2:], (top, left), full.shape[2:], strict=True)]
    if any(lacking):
        full = F.pad(full, (0, lacking[1], 0, lacking[0]))
    return full[:, :, top : top + shape[2], left : left + shape[3]].contiguous()
