"""MixedQuestions: triples among questions without partners, each data set in proportion to its size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch.utils.data import Dataset


class MixedQuestions(Dataset[dict[str, Any]]):
    """The rows of several data sets one after the other: shuffled, each data set is drawn in proportion to its size.

    So SOrT trains on VQA-Introspect and all of VQA v2 (arXiv 2010.10038). Questions of VQA v2 have no partners, and count in
    the task loss only.

    Args:
        parts: Map-style datasets or lists of rows, such as `QuestionTriples` and the split of a builder of questions.

    Raises:
        ValueError: There is no part, or one without rows by number.

    Example:
        >>> mixed = MixedQuestions([{"question_id": "1"}], [{"question_id": "2"}, {"question_id": "3"}])
        >>> len(mixed), mixed[2]["question_id"]
        (3, '3')
    """

    def __init__(self, *parts: Any) -> None:
        for number, part in enumerate(parts):
            if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")) or isinstance(part, dict):
                raise ValueError(
                    f"part {number} is a {type(part).__name__}, which has no rows by number; give one datasets.Dataset, as "
                    "splits['train']."
                )
        if not any(map(len, parts)):
            raise ValueError(f"{len(parts)} parts without any row were given; give at least one row.")
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch to the parts that draw anew in every epoch."""
        for part in self._parts:
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows at once, which datasets read faster."""
        places: dict[int, list[tuple[int, int]]] = {}
        for order, index in enumerate(indices):
            number = range(len(self))[index]  # counts from the end too, and refuses what is beyond
            part = bisect_right(self._ends, number)
            places.setdefault(part, []).append((order, number - (self._ends[part - 1] if part else 0)))
        found: dict[int, dict[str, Any]] = {}
        for part, wanted in places.items():
            rows, numbers = self._parts[part], [number for _, number in wanted]
            many = getattr(rows, "__getitems__", None)
            read = many(numbers) if many is not None else [rows[number] for number in numbers]
            found |= dict(zip([order for order, _ in wanted], read, strict=True))
        return [found[order] for order in range(len(indices))]
