"""What an objective sees of an attribution map. Each row is normalised by itself, and the scale is never detached."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Identity", "MaxAbs", "MinMax", "Normalization", "Positive", "UnitNorm"]


@dataclass(frozen=True)
class Normalization:
    """Base: maps (rows, ...) to (rows, ...) of the same shape; rows do not see each other."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Normalise every row of ``maps`` over all its other axes."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(maps).")


@dataclass(frozen=True)
class Identity(Normalization):
    """A itself, signed and unscaled."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Return ``maps``."""
        return maps


@dataclass(frozen=True)
class Positive(Normalization):
    """A⁺ / max A⁺ with A⁺ = max(A, 0); zero where the row has no positive entry (arXiv 2303.11932, section 3)."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Clamp at zero and divide by the row's maximum."""
        positive = maps.clamp_min(0)
        return positive / _safe(_over_row(positive, torch.amax))


@dataclass(frozen=True)
class MaxAbs(Normalization):
    """A / max |A|; an all-zero row stays zero, with zero gradient (arXiv 2303.11932, section 3)."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Divide by the row's largest magnitude."""
        return maps / _safe(_over_row(maps.abs(), torch.amax))


@dataclass(frozen=True)
class MinMax(Normalization):
    """(A - min A) / (max A - min A); a constant row becomes zero."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Shift and scale the row to [0, 1]."""
        low = _over_row(maps, torch.amin)
        return (maps - low) / _safe(_over_row(maps, torch.amax) - low)


@dataclass(frozen=True)
class UnitNorm(Normalization):
    """A / max(||A||₂, 1e-12) (arXiv 2206.11212, Inv-FI)."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Divide by the row's Euclidean norm."""
        squares = maps.square().flatten(1).sum(1)
        # sqrt has an infinite slope at zero: an all-zero row takes the constant branch on both sides of the where.
        norm = torch.where(squares > 0, squares, 1).sqrt().clamp_min(1e-12)
        return maps / norm.reshape(-1, *[1] * (maps.dim() - 1))


def _over_row(maps: Tensor, reduce) -> Tensor:  # type: ignore[no-untyped-def]
    return reduce(maps.flatten(1), dim=1).reshape(-1, *[1] * (maps.dim() - 1))  # type: ignore[no-any-return]


def _safe(scale: Tensor) -> Tensor:
    # Rows without scale divide by one: value and gradient stay finite (0/0 behind a where still poisons the gradient). So do
    # rows below the smallest normal number, whose reciprocal is infinite.
    return torch.where(scale > torch.finfo(scale.dtype).tiny, scale, 1)
