"""Energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.objectives.objective import AttributionObjective

_UNDEFINED = 1e-7


@dataclass(frozen=True)
class Energy(AttributionObjective):
    """``L = 1 - sum(M * A⁺) / sum(A⁺)``: the share of positive attribution outside (arXiv 2303.11932, eq. 6).

    One minus the energy pointing game, on the raw map: the loss is scale invariant. Below ``sum(A⁺) = 1e-7`` the
    denominator is dropped, as in the released code; a map without positive entry has loss 1 and no gradient.

    Note:
        The paper's text leaves open whether the formula is -EPG or 1 - EPG; the gradient is the same. This is the code's.

    Example:
        >>> Energy.loss(torch.tensor([[1.0, 3.0, -2.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
        tensor([0.7500])
    """

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) raw, importance (rows, n) in [0, 1], to (rows,) in [0, 1]."""
        positive = attribution.clamp_min(0)
        inside = (positive * importance).sum(1)
        total = positive.sum(1)
        return 1 - inside / torch.where(total < _UNDEFINED, 1, total)
