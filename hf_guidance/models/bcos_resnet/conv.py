"""BcosConv2d: a convolution whose outputs are scaled by the cosine between filter and patch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hf_guidance.models.bcos_resnet.dynamic_product import autocast, bcos_response, check_exponents, largest_of
from hf_guidance.models.bcos_resnet.patch_norm import patch_squares, unit_filters
from hf_guidance.models.bcos_resnet.squared_cosine import SquaredCosine
from hf_guidance.second_order.convolution import Geometry

_OFFSET = 1e-6  # as in the authors' code


class BcosConv2d(nn.Module):
    """``y = max_m (w_m * x) |cos(patch, w_m)|^(b - 1)`` with filters of length 1 (arXiv 2205.10268, eq. 3 and 15).

    The layer has no bias and needs no activation function. It is ``y = W(x) x``: ``fixed_dynamic_weights`` holds W(x)
    constant in a first differentiation, while a second one goes through W(x) in full, as guidance needs (arXiv 2303.11932).
    The length of a patch is ``sqrt(sum of squares + 1e-6)`` over the channels of its group; padding counts as 0.

    The published setting, b = 2 without MaxOut, is one function whose backward and double backward are written by hand;
    other settings use ordinary operations with the same meaning.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of y.
        kernel_size: Size of the filters; one number or (height, width), like stride, padding and dilation.
        stride: Step between patches.
        padding: Zeros on every side.
        dilation: Step inside a patch.
        groups: Groups of channels.
        b: Exponent, at least 1; 1 is a linear convolution.
        max_out: Filters per output, which takes the largest of their responses.

    Raises:
        ValueError: ``b`` or ``max_out`` below 1, or channels that the groups do not divide.

    Example:
        >>> BcosConv2d(6, 4, kernel_size=3, padding=1)(torch.rand(2, 6, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 1,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        b: float = 2.0,
        max_out: int = 1,
    ) -> None:
        super().__init__()
        check_exponents("BcosConv2d", b, max_out)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"BcosConv2d({in_channels}, {out_channels}, groups={groups}): groups must divide the channels."
            )
        self.in_channels, self.out_channels, self.b, self.max_out = in_channels, out_channels, b, max_out
        self.kernel_size = _pair(kernel_size)
        self.geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
        self.weight = nn.Parameter(torch.empty(out_channels * max_out, in_channels // groups, *self.kernel_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw what ``nn.Conv2d`` would draw; only the directions matter."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, out_channels, out_height, out_width)."""
        x = autocast(x)
        if self.b != 2 or self.max_out != 1:
            return self.plain(x, self.weight)
        y: Tensor = SquaredCosine.apply(x, self.weight, self.geometry, self.plain)[0]
        return y

    def plain(self, x: Tensor, weight: Tensor) -> Tensor:
        """Compute the layer by ordinary operations, for any b and MaxOut."""
        unit, _ = unit_filters(weight)
        linear = largest_of(self.geometry.apply(x, unit.to(x.dtype)), self.max_out, 1)
        if self.b == 1:
            return linear
        norm = patch_squares(x, self.kernel_size, self.geometry).sqrt()
        per_channel = norm.repeat_interleave(linear.shape[1] // norm.shape[1], 1) if self.geometry.groups > 1 else norm
        return bcos_response(linear, per_channel.to(linear.dtype), self.b, _OFFSET)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.geometry.stride}, "
            f"padding={self.geometry.padding}, b={self.b}, max_out={self.max_out}"
        )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
