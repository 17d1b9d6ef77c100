"""PPCE."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.normalizations import Normalization, Positive
from hf_guidance.objectives.objective import AttributionObjective

_LOG_FLOOR = -100.0


@dataclass(frozen=True)
class PPCE(AttributionObjective):
    """``L = -sum(M * log Â⁺) / sum(M)``: per-pixel cross-entropy inside the mask (arXiv 2303.11932, eq. 4; HAICS).

    The logarithm is floored at -100, where the gradient is zero. Values of 50 and more are normal on signed maps.

    Note:
        An empty mask gives 0; the released code divides by zero there. The collator counts such rows as not annotated.
        The released code's gradient is cut where ``Â(1 - Â) < 1e-12``; this one is exact.

    Example:
        >>> PPCE.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 1.0]]))
        tensor([0.3466])
    """

    normalization: Normalization = field(default_factory=Positive)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) in [0, 1], importance (rows, n) in [0, 1], to (rows,) in [0, 100]."""
        positive = attribution > 0
        log = torch.where(positive, attribution, 1).log()
        log = torch.where(positive, log, _LOG_FLOOR).clamp_min(_LOG_FLOOR)
        mass = importance.sum(1)
        return -(importance * log).sum(1) / torch.where(mass > 0, mass, 1)
