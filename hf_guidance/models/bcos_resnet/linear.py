"""BcosLinear: a linear layer whose outputs are scaled by the cosine between weight and input."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hf_guidance.models.bcos_resnet.dynamic_product import autocast, bcos_response, check_exponents, largest_of
from hf_guidance.models.bcos_resnet.patch_norm import EPS, unit_filters

_OFFSET = 1e-12  # 0 in the authors' code; too small to matter, but gives a derivative where the cosine is 0


class BcosLinear(nn.Module):
    """``y = max_m (w_m . x) * |cos(x, w_m)|^(b - 1)`` with weights of length 1 (arXiv 2205.10268, eq. 3).

    The length of x is ``sqrt(sum of squares + 1e-6)``. There is no bias. The layer is ``y = W(x) x``;
    ``fixed_dynamic_weights`` holds W(x) constant in a first differentiation.

    Args:
        in_features: Size of x.
        out_features: Size of y.
        b: Exponent, at least 1.
        max_out: Weight vectors per output, which takes the largest of their responses.

    Raises:
        ValueError: ``b`` or ``max_out`` below 1.

    Example:
        >>> BcosLinear(4, 2)(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(self, in_features: int, out_features: int, b: float = 2.0, max_out: int = 1) -> None:
        super().__init__()
        check_exponents("BcosLinear", b, max_out)
        self.in_features, self.out_features, self.b, self.max_out = in_features, out_features, b, max_out
        self.weight = nn.Parameter(torch.empty(out_features * max_out, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw what ``nn.Linear`` would draw; only the directions matter."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        x = autocast(x)
        weight = unit_filters(self.weight)[0].to(x.dtype)
        linear = largest_of(F.linear(x, weight), self.max_out, -1)
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        norm = ((exact * exact).sum(-1, keepdim=True) + EPS).sqrt().to(x.dtype)
        return bcos_response(linear, norm, self.b, _OFFSET)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_features}, {self.out_features}, b={self.b}, max_out={self.max_out}"
