"""Queries, keys and values with a gradient at the output, ready to be worked on in tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.second_order.attention.pattern import CPU_TILE, DEVICE_TILE, Pattern, Tile


@dataclass(frozen=True)
class Operands:
    """What the tiles of both backwards are computed from; batch and heads are joined, every query head has keys of its own.

    Attributes:
        q: (batch * heads, queries, dims).
        k: (batch * heads, keys, dims).
        v: As ``k``.
        g: Gradient at the output, as ``q``.
        mean: D = sum(g o), (batch * heads, queries, 1), float32 or float64.
        lse: Log-sum-exp of the scores, as ``mean``; None where it is not known well.
        pattern: Mask and scale.
        batch: Rows of the batch.
        heads: Heads of the queries.
        groups: Query heads that share a key head.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor
    mean: Tensor
    lse: Tensor | None
    pattern: Pattern
    batch: int
    heads: int
    groups: int

    @classmethod
    def of(
        cls, g: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor | None, pattern: Pattern
    ) -> Operands:
        """Of tensors (batch, heads, places, dims) as attention takes and gives them."""
        batch, heads, queries, _ = q.shape
        groups = heads // k.shape[1]
        mean = (g * o).sum(-1, keepdim=True, dtype=precise(q.dtype)).flatten(0, 1)
        flat_q, flat_g = q.flatten(0, 1), g.flatten(0, 1)
        flat_k, flat_v = (widened(t, groups).flatten(0, 1) for t in (k, v))
        if lse is not None:
            lse = lse.reshape(-1, queries, 1)
        return cls(flat_q, flat_k, flat_v, flat_g, mean, lse, pattern, batch, heads, groups)

    @property
    def tile_size(self) -> int:
        """Scores of one tile at most."""
        return CPU_TILE if self.q.device.type == "cpu" else DEVICE_TILE

    def probabilities(self, q: Tensor, k: Tensor, tile: Tile) -> Tensor:
        """P of a tile, from its queries and keys; rows of zeros where a query may attend to nothing."""
        scale = self.pattern.scale
        if self.lse is None:
            scores = self.pattern.hide(torch.bmm(q, k.mT).mul_(scale), tile, self.batch, self.heads)
            return scores.softmax(-1).masked_fill_(scores.amax(-1, keepdim=True) == -torch.inf, 0)
        lse = self.lse[tile.heads, tile.queries]
        return self.pattern.hide(torch.baddbmm(lse, q, k.mT, beta=-1, alpha=scale), tile, self.batch, self.heads).exp_()

    def parted(self, gradient: Tensor) -> Tensor:
        """(batch * heads, places, dims) to (batch, heads, places, dims)."""
        parted: Tensor = gradient.unflatten(0, (self.batch, self.heads))
        return parted

    def of_groups(self, gradient: Tensor) -> Tensor:
        """The same of keys or values, summed over the query heads that share them."""
        parted = self.parted(gradient)
        if self.groups > 1:
            parted = parted.unflatten(1, (-1, self.groups)).sum(2)
        return parted


def precise(dtype: torch.dtype) -> torch.dtype:
    """The dtype that tiles are computed in: half precision is worked on in float32."""
    return torch.promote_types(dtype, torch.float32)


def widened(t: Tensor, groups: int) -> Tensor:
    """Keys or values (batch, heads / groups, ...) repeated for each of the query heads that share them."""
    return t.repeat_interleave(groups, 1) if groups > 1 else t
