"""Rows of the training set that carry their index into the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

INDEX = "baseline_row_index"
"""Column of rows and of batches: the index of the row in the training set."""


class IndexedRows(Dataset[dict[str, Any]]):
    """The rows of a map-style dataset with their index in a column, in an order of one's own.

    Args:
        rows: A dataset whose rows are mappings.
        order: (draws,) int64, the row behind each draw, some perhaps several times; None for every row once.
    """

    def __init__(self, rows: Any, order: Tensor | None = None) -> None:
        self._rows, self._order = rows, None if order is None else order.tolist()

    def __len__(self) -> int:
        return len(self._rows) if self._order is None else len(self._order)

    def __getitem__(self, draw: int) -> dict[str, Any]:
        index = self._index(draw)
        return {**self._rows[index], INDEX: index}

    def __getitems__(self, draws: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows at once, which datasets read faster."""
        indices = [self._index(draw) for draw in draws]
        many = getattr(self._rows, "__getitems__", None)
        found = many(indices) if many is not None else [self._rows[index] for index in indices]
        return [{**row, INDEX: index} for row, index in zip(found, indices, strict=True)]

    def _index(self, draw: int) -> int:
        return int(draw) if self._order is None else self._order[draw]


@dataclass(frozen=True)
class WithIndex:
    """A collator whose batches hold the indices of the rows, (images,) int64, in the column INDEX.

    Args:
        collator: The collator.
    """

    collator: Callable[[Sequence[Any]], Any]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """The batch of the rows without their indices, with these."""
        batch = self.collator([{name: value for name, value in row.items() if name != INDEX} for row in rows])
        batch[INDEX] = torch.tensor([row[INDEX] for row in rows])
        return batch


class WeightedSampler(Sampler[int]):
    """Draws with replacement, in proportion to weights; the same in every run of a seed, and another in every epoch.

    Args:
        weights: (draws,) floats >= 0.
        seed: Seed of the draws.
    """

    def __init__(self, weights: Tensor, seed: int) -> None:
        self._weights, self._seed, self._epoch = weights.double(), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the loader at the begin of every epoch, so that a resumed one draws as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        yield from torch.multinomial(self._weights, len(self._weights), True, generator=generator).tolist()
