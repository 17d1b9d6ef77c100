"""EvaluationDataTrainer: a Trainer with a separate collator for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from hf_guidance.data.collator import RowCollator
from hf_guidance.data.images.transform_check import refuse_left_behind
from hf_guidance.training.attached import AttachingTrainer
from hf_guidance.training.metric_columns import WithColumns, asked_columns, popped_columns, refuse_missing


class EvaluationDataTrainer(AttachingTrainer):
    """Trainer with a separate collator for evaluation and prediction.

    A model is measured by the annotations as they are, whatever it is trained with: by default, a RowCollator for training
    is replaced by its ``for_evaluation()``. Columns that ``compute_metrics`` asks for travel beside the batches.

    Args:
        *args: As for Trainer.
        eval_data_collator: Collator for evaluation and prediction.
        **kwargs: As for Trainer.
    """

    def __init__(self, *args: Any, eval_data_collator: Any = None, **kwargs: Any) -> None:
        self.eval_data_collator = eval_data_collator
        super().__init__(*args, **kwargs)
        self._check_usable()

    def _check_usable(self) -> None:
        # Before training, so that it does not end at the first batch with an unusable row.
        held_out = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval_dataset": self.eval_dataset}
        training = "train_dataset"
        if self.train_dataset is not None and isinstance(self.data_collator, RowCollator):
            self.data_collator.check_training_rows(self.train_dataset, training)
            self.data_collator.check_rows(self.train_dataset, training)
        collator = self.eval_data_collator or self.data_collator
        for name, rows in held_out.items() if isinstance(collator, RowCollator) else ():
            if rows is not None:
                collator.check_rows(rows, name)
                collator.check_evaluation_rows(rows, name)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Trainer's dataloader, with the collator for evaluation.

        Raises:
            ValueError: On several processes a stream, or a collator that makes several rows of one; or a transform of the rows
                that leaves boxes behind.
        """
        own: Any = self.eval_dataset  # type: ignore[has-type]
        named = own[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset
        self._check_rows(own if named is None else named)
        with self._collating_for_evaluation():
            loader: DataLoader[Any] = super().get_eval_dataloader(eval_dataset)
        return loader

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Trainer's dataloader, with the collator for evaluation.

        Raises:
            ValueError: On several processes a stream, or a collator that makes several rows of one; or a transform of the rows
                that leaves boxes behind.
        """
        self._check_rows(test_dataset)
        with self._collating_for_evaluation():
            loader: DataLoader[Any] = super().get_test_dataloader(test_dataset)
        return loader

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """Columns of the evaluated rows that ``compute_metrics`` is given in ``prediction.inputs``."""
        return asked_columns(self.args, self.compute_metrics)

    @property
    def _row_collators(self) -> list[RowCollator]:
        collators: list[Any] = [self.data_collator, self.eval_data_collator]  # type: ignore[has-type]
        return [collator for collator in collators if isinstance(collator, RowCollator)]

    def plain_collator_for_evaluation(self) -> Any:
        """The collator for evaluation, without the columns for ``compute_metrics``."""
        training: Any = self.data_collator  # type: ignore[has-type]
        as_annotated = training.for_evaluation() if isinstance(training, RowCollator) else training
        return self.eval_data_collator or as_annotated

    def _collator_for_evaluation(self) -> Any:
        collator = self.plain_collator_for_evaluation()
        return WithColumns(collator, self.asked_columns) if self.asked_columns else collator

    def _check_evaluation_sets(self) -> None:
        """Raise now what would otherwise end training at the first evaluation: a stream, a column that the rows lack."""
        given: Any = self.eval_dataset  # type: ignore[has-type]
        for rows in given.values() if isinstance(given, dict) else [given]:
            self._check_rows(rows)
            missing = set(self.asked_columns) - set(getattr(rows, "column_names", None) or ())
            if missing and _can_be_read(rows):  # the collator, or a transform of the rows, may make it
                batch = self._collator_for_evaluation()([rows[0]])
                columns = popped_columns(batch)
                if self._has_labels(batch):
                    refuse_missing(columns)

    def _has_labels(self, inputs: Mapping[str, Any]) -> bool:
        raise NotImplementedError  # of EvaluatingTrainer

    def _check_rows(self, rows: Any) -> None:
        _refuse_stream(self.args, rows)
        collator = self.eval_data_collator or self.data_collator  # type: ignore[has-type]
        if rows is not None:
            _refuse_several(self.args, collator)
        if isinstance(collator, RowCollator):
            refuse_left_behind(rows, collator.sources)

    @contextmanager
    def _collating_for_evaluation(self) -> Iterator[None]:
        training: Any = self.data_collator  # type: ignore[has-type]
        self.data_collator = self._collator_for_evaluation()
        try:
            yield
        finally:
            self.data_collator = training


def _can_be_read(rows: Any) -> bool:
    """Whether a set has a first row that can be read before the others."""
    stream = isinstance(rows, IterableDataset) or not (hasattr(rows, "__getitem__") and hasattr(rows, "__len__"))
    return not stream and len(rows) > 0


def _refuse_stream(args: Any, rows: Any) -> None:
    if isinstance(rows, IterableDataset) and args.world_size > 1:
        raise ValueError(
            "a streaming dataset cannot be evaluated on several processes: it has no length, so rows that fill up the last "
            "batch cannot be told from the others and would count twice. Give a dataset with a length, for example "
            "datasets.Dataset.from_list(list(stream)), or evaluate in one process."
        )


def _refuse_several(args: Any, collator: Any) -> None:
    if isinstance(collator, RowCollator) and collator.several and args.world_size > 1:
        raise ValueError(
            f"{type(collator).__name__} makes several rows of a batch from one of the data set, not always as many, and "
            "results of several processes are joined by rows of the data set: evaluate in one process."
        )
