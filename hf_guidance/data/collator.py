"""RowCollator: what the trainer, the evaluation and the checks must know of a collator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from hf_guidance.data.columns import EXPLAINED_ROW_COLUMNS, IMPORTANCE


class RowCollator:
    """Base of the collators of one kind of row: images, questions, and kinds of your own.

    A new kind is a subclass with ``__call__``, which sets what differs of the attributes; the trainer needs no change.

    Attributes:
        columns: Columns of rows that the collator reads, or that metrics need; the trainer never drops them.
        sources: Those of them that say where to look. A training set without anything in them is refused.
        explained_row_columns: Columns of its batches that have one entry for each explained row. All others have one entry for
            each image.

    Example:
        >>> class CaptionCollator(RowCollator):
        ...     columns, sources = ("image", "caption", "objects"), ("objects",)
    """

    columns: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = (IMPORTANCE,)
    explained_row_columns: ClassVar[tuple[str, ...]] = EXPLAINED_ROW_COLUMNS

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make the batch that a guided step reads of rows of a dataset."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(rows).")

    def for_evaluation(self) -> Self:
        """The collator of what is evaluated: annotations as they are, neither moved, dealt out, dilated nor augmented."""
        return self
