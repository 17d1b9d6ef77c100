"""Alignment (cosine)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.objectives.objective import AttributionObjective

_EPSILON = 1e-12


@dataclass(frozen=True)
class Alignment(AttributionObjective):
    """``L = 1 - cos(A, M)``, signed map, continuous importance (arXiv 2206.11212, eq. 6).

    1e-12 is added to both squared norms; a zero vector on either side gives loss 1 and zero gradient.

    Note:
        The paper prints the cosine with a plus sign, which would push maps away; released code and text minimise 1 - cos.

    Example:
        >>> Alignment.loss(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([0.2929])
    """

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n), to (rows,) in [0, 2]."""
        dot = (attribution * importance).sum(1)
        own, other = attribution.square().sum(1), importance.square().sum(1)
        # An all-zero map would have a gradient of 1e6 * M from the epsilon alone; it has no direction, so none here.
        squares = torch.where(own > 0, (own + _EPSILON) * (other + _EPSILON), 1)
        return 1 - torch.where(own > 0, dot, 0) / squares.sqrt()
