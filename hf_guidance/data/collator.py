"""RowCollator: what the trainer, the evaluation and the checks need to know about a collator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from hf_guidance.data.columns import EXPLAINED_ROW_COLUMNS, IMPORTANCE


class RowCollator:
    """Base of collators. Each collates one kind of row: images, questions, or a kind of your own.

    For a new kind of row, write a subclass with ``__call__`` and set the attributes that differ; the trainer needs no change.

    Attributes:
        columns: Dataset columns that the collator reads or that metrics need; the trainer never drops them.
        sources: Those of ``columns`` that hold importance. A training set where all of them are empty is refused.
        explained_row_columns: Batch columns with one entry per explained row, that is per (image, target) pair. All other batch
            columns have one entry per image.
        several: Whether a row of the data set may become several rows of the batch, as a question with others that it is
            compared with. Such rows are evaluated in one process.

    Example:
        >>> class CaptionCollator(RowCollator):
        ...     columns, sources = ("image", "caption", "objects"), ("objects",)
    """

    columns: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = (IMPORTANCE,)
    explained_row_columns: ClassVar[tuple[str, ...]] = EXPLAINED_ROW_COLUMNS
    several: ClassVar[bool] = False

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows of a dataset into the batch that a guided step reads."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(rows).")

    def check_rows(self, rows: Any, name: str) -> None:
        """Called by the trainer with each data set that it is given: raise a ValueError that names what cannot be collated.

        Args:
            rows: The data set.
            name: What the trainer calls it, for the error.
        """

    def check_training_rows(self, rows: Any, name: str) -> None:
        """Called by the trainer with the training set: raise a ValueError where a column is missing that training needs.

        Args:
            rows: The data set.
            name: What the trainer calls it, for the error.
        """

    def check_evaluation_rows(self, rows: Any, name: str) -> None:
        """Called by the trainer with the sets to evaluate: raise a ValueError that names what cannot be measured.

        Args:
            rows: The data set.
            name: What the trainer calls it, for the error.
        """

    def for_evaluation(self) -> Self:
        """The collator for evaluation: annotations unchanged, neither moved, shuffled, dilated nor augmented."""
        return self
