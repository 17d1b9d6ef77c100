"""A linear layer whose weight has one learned length and a learned direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class NormedLinear(nn.Module):
    """``y = (g V / ||V||_F) x + b``: weight normalisation with one scalar g for the whole layer.

    torch's ``weight_norm(dim=None)`` computes the same. This one is a plain module, so that a checkpoint holds
    ``scale`` (g), ``direction`` (V) and ``bias`` and loads without a conversion.

    Args:
        inputs: Size of x.
        outputs: Size of y.

    Example:
        >>> NormedLinear(4, 2)(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(()))
        self.direction = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw what ``nn.Linear`` would draw, and set the length to that of the weight drawn."""
        bound = 1 / math.sqrt(self.direction.shape[1])
        nn.init.uniform_(self.direction, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        if not self.direction.is_meta:
            nn.init.constant_(self.scale, float(self.direction.detach().norm()))

    @property
    def weight(self) -> Tensor:
        """The weight in use, (outputs, inputs)."""
        return self.direction * self._stretch()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        # The output is scaled, not the weight, so that no call makes a second weight.
        return torch.addcmul(self.bias, functional.linear(x, self.direction), self._stretch())

    def _stretch(self) -> Tensor:
        stretch: Tensor = self.scale / torch.linalg.vector_norm(self.direction)
        return stretch
