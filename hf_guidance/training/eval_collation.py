"""EvaluationDataTrainer: a Trainer with a separate collator for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader
from transformers import Trainer

from hf_guidance.data.collator import RowCollator


class EvaluationDataTrainer(Trainer):
    """Trainer with a separate collator for evaluation and prediction.

    A model is measured by the annotations as they are, whatever it is trained with: by default, a RowCollator for training
    is replaced by its ``for_evaluation()``.

    Args:
        *args: As for Trainer.
        eval_data_collator: Collator for evaluation and prediction.
        **kwargs: As for Trainer.
    """

    def __init__(self, *args: Any, eval_data_collator: Any = None, **kwargs: Any) -> None:
        self.eval_data_collator = eval_data_collator
        super().__init__(*args, **kwargs)
        self._check_rows()

    def _check_rows(self) -> None:
        # Before training, so that it does not end at the first batch with an unusable row.
        held_out = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval_dataset": self.eval_dataset}
        training = ("train_dataset", self.train_dataset, self.data_collator)
        for name, rows, collator in (
            training,
            *((name, rows, self.eval_data_collator or self.data_collator) for name, rows in held_out.items()),
        ):
            if rows is not None and isinstance(collator, RowCollator):
                collator.check_rows(rows, name)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Trainer's dataloader, with the collator for evaluation."""
        with self._collating_for_evaluation():
            loader: DataLoader[Any] = super().get_eval_dataloader(eval_dataset)
        return loader

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Trainer's dataloader, with the collator for evaluation."""
        with self._collating_for_evaluation():
            loader: DataLoader[Any] = super().get_test_dataloader(test_dataset)
        return loader

    @contextmanager
    def _collating_for_evaluation(self) -> Iterator[None]:
        training: Any = self.data_collator  # type: ignore[has-type]
        as_annotated = training.for_evaluation() if isinstance(training, RowCollator) else training
        self.data_collator = self.eval_data_collator or as_annotated
        try:
            yield
        finally:
            self.data_collator = training
