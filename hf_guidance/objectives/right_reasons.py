"""RightReasons (RRR*)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.objectives.normalizations import MaxAbs, Normalization
from hf_guidance.objectives.objective import AttributionObjective


@dataclass(frozen=True)
class RightReasons(AttributionObjective):
    """``L = sum((1 - M) * Â²)``, Â = A / max |A|: RRR* (arXiv 2303.11932, eq. 5; RRR: arXiv 1703.03717).

    A sum over pixels, so its weight depends on the size of the importance. RRR itself penalises input gradients without
    normalisation: ``RightReasons(Gradient(channels="keep"), Identity())``.

    Example:
        >>> RightReasons.loss(torch.tensor([[1.0, -0.5]]), torch.tensor([[1.0, 0.0]]))
        tensor([0.2500])
    """

    normalization: Normalization = field(default_factory=MaxAbs)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        outside = 1 - importance.to(torch.promote_types(importance.dtype, attribution.dtype))
        return (outside * attribution.square()).sum(1)
