"""How an objective normalises attribution maps. Every map is normalised by itself, and gradients flow through its scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Identity", "MaxAbs", "MinMax", "Normalization", "OffsetMax", "Positive", "UnitNorm"]


@dataclass(frozen=True)
class Normalization:
    """Base: maps (rows, ...) of the explained rows to the same shape, each row independent of the others."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Normalise every row of ``maps`` over all its other axes."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(maps).")


@dataclass(frozen=True)
class Identity(Normalization):
    """The map A unchanged, signed and unscaled."""

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
        # sqrt has an infinite slope at zero: the norm of an all-zero row is the constant 1, without gradient.
        norm = torch.where(squares > 0, squares, 1).sqrt().clamp_min(1e-12)
        return maps / norm.reshape(-1, *[1] * (maps.dim() - 1))


@dataclass(frozen=True)
class OffsetMax(Normalization):
    """(A⁺ + 1e-10) / max(A⁺ + 1e-10) with A⁺ = max(A, 0), in (0, 1] (arXiv 2410.22312, section III-B).

    A row without positive entry becomes one everywhere. Gradients flow through the maximum, to the first of equal entries.
    """

    def __call__(self, maps: Tensor) -> Tensor:
        """Clamp at zero, add the offset, and divide by the row's maximum."""
        # Unlike clamp, where() passes the whole gradient at zero, where a map after ReLU has many entries.
        shifted = torch.where(maps < 0, 0, maps) + 1e-10
        largest = shifted.flatten(1).max(1).values  # amax would share the gradient among equal entries
        return shifted / largest.reshape(-1, *[1] * (maps.dim() - 1))


def _over_row(maps: Tensor, reduce) -> Tensor:  # type: ignore[no-untyped-def]
    return reduce(maps.flatten(1), dim=1).reshape(-1, *[1] * (maps.dim() - 1))  # type: ignore[no-any-return]


def _safe(scale: Tensor) -> Tensor:
    # Rows of scale 0 divide by one, so that value and gradient stay finite: 0/0 in the unused branch of a where would still
    # make the gradient NaN. So do rows whose scale is below the smallest normal number, because its reciprocal is infinite.
    return torch.where(scale > torch.finfo(scale.dtype).tiny, scale, 1)
