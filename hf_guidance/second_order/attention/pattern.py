"""Which keys a query attends to, and the scale of the scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

CPU_TILE, DEVICE_TILE = 1 << 18, 1 << 24
"""Scores of one tile at most, about seven such buffers live at a time: what stays in a cache, what fills an accelerator."""
_LOW = -256.0


class Tile(NamedTuple):
    """A block of the scores: some heads of the batch, some of their queries, and the keys that these may see."""

    heads: slice
    queries: slice
    keys: slice


@dataclass(frozen=True)
class Pattern:
    """What turns products of queries and keys into scores: ``S = scale q k' + B``.

    Attributes:
        mask: None, or (batch or 1, heads or 1, queries or 1, keys or 1) without gradient: boolean (True: attend), or B
            itself in the dtype of the queries.
        causal: Whether query i sees the keys 0 to i alone.
        scale: Factor of the products.
    """

    mask: Tensor | None
    causal: bool
    scale: float

    def additive(self, dtype: torch.dtype) -> Tensor | None:
        """B, minus infinity where nothing may be seen."""
        if self.mask is None or self.mask.dtype != torch.bool:
            return self.mask
        return torch.zeros_like(self.mask, dtype=dtype).masked_fill_(~self.mask, -math.inf)

    def blurs(self) -> bool:
        """Whether B is so low in a whole row that the log-sum-exp of the row is rounded, as where all is "masked" by -1e4."""
        if self.mask is None or self.mask.dtype == torch.bool:
            return False
        highest = self.mask.amax(-1)
        return bool(((highest < _LOW) & (highest > -math.inf)).any())

    def hide(self, scores: Tensor, tile: Tile, batch: int, heads: int) -> Tensor:
        """Add B to the scores of a tile, in place, and put minus infinity where a query may not look."""
        if self.mask is not None:
            part = _part(self.mask, tile, batch, heads)
            if part.dtype == torch.bool:
                scores.masked_fill_(~part, -math.inf)
            else:
                scores.add_(part)
        if self.causal:
            key = torch.arange(tile.keys.stop, device=scores.device)
            query = torch.arange(tile.queries.start, tile.queries.stop, device=scores.device)
            scores.masked_fill_(key > query[:, None], -math.inf)
        return scores

    def tiles(self, heads: int, queries: int, keys: int, size: int) -> Iterator[tuple[slice, list[Tile]]]:
        """Heads, and their tiles of at most ``size`` scores (of one query at least)."""
        some_heads = max(1, min(heads, size // max(1, queries * keys)))
        some_queries = max(1, min(queries, size // max(1, keys)))
        for first_head in range(0, heads, some_heads):
            chosen = slice(first_head, min(first_head + some_heads, heads))
            found = []
            for first in range(0, queries, some_queries):
                stop = min(first + some_queries, queries)
                seen = min(stop, keys) if self.causal else keys
                found.append(Tile(chosen, slice(first, stop), slice(0, seen)))
            yield chosen, found


def _part(mask: Tensor, tile: Tile, batch: int, heads: int) -> Tensor:
    queries = tile.queries if mask.shape[2] > 1 else slice(None)
    keys = tile.keys if mask.shape[3] > 1 else slice(None)
    if mask.shape[:2] == (1, 1):
        return mask[0, :, queries, keys]
    both = torch.arange(tile.heads.start, tile.heads.stop, device=mask.device)
    return mask.expand(batch, heads, -1, -1)[both // heads, both % heads, queries, keys]
