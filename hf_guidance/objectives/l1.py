"""L1."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.objectives.normalizations import Normalization, Positive
from hf_guidance.objectives.objective import AttributionObjective


@dataclass(frozen=True)
class L1(AttributionObjective):
    """``L = mean |M - Â⁺|`` over all entries, Â⁺ = A⁺ / max A⁺ (arXiv 2303.11932, eq. 3; GRADIA).

    Example:
        >>> L1.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]]))
        tensor([0.2500])
    """

    normalization: Normalization = field(default_factory=Positive)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) in [0, 1], importance (rows, n) in [0, 1], to (rows,) in [0, 1]."""
        return (attribution - importance.to(torch.promote_types(importance.dtype, attribution.dtype))).abs().mean(1)
