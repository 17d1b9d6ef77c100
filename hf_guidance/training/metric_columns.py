"""MetricColumns: columns of the evaluated rows, handed to ``compute_metrics``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import EvalPrediction

_KEY = "metric_columns"  # batch key of what WithColumns read, apart from the columns that a step reads
_OF_TRAINER = ("inputs", "loss")  # what Trainer itself understands by include_for_metrics


def asked_columns(args: Any, compute_metrics: Any) -> tuple[str, ...]:
    """Columns that ``compute_metrics`` is to be given.

    Args:
        args: TrainingArguments; ``include_for_metrics`` may name columns beside "inputs" and "loss".
        compute_metrics: The function; its attribute ``columns``, if it has one, names the columns that it reads. One column
            may be given as a text.

    Returns:
        Their names, each once; none where there are no metrics.
    """
    if compute_metrics is None:
        return ()
    given = (args.include_for_metrics, getattr(compute_metrics, "columns", ()))
    names = [name for each in given for name in ((each,) if isinstance(each, str) else each)]
    return tuple(dict.fromkeys(name for name in names if name not in _OF_TRAINER))


@dataclass(frozen=True)
class WithColumns:
    """A collator that also hands on columns of its rows.

    In the place of a column that neither the rows nor the batch have with one entry per row stands the text of an error, which
    ``refuse_missing`` raises where it is needed: rows without labels are predicted without metrics.

    Args:
        collator: The collator.
        names: Columns of the rows, or else of the batch, with one entry per row.
    """

    collator: Callable[[Sequence[Any]], Any]
    names: tuple[str, ...]

    def __call__(self, rows: Sequence[Any]) -> Any:
        """The batch, with the columns under a key of their own."""
        batch = self.collator(rows)
        batch[_KEY] = {name: self._column(name, rows, batch) for name in self.names}
        return batch

    def _column(self, name: str, rows: Sequence[Any], batch: Mapping[str, Any]) -> list[Any] | str:
        if all(isinstance(row, Mapping) and name in row for row in rows):
            return [_plain(row[name]) for row in rows]
        if name in batch and len(batch[name]) == len(rows):
            return [_plain(value) for value in batch[name]]
        columns = sorted(rows[0]) if isinstance(rows[0], Mapping) else type(rows[0]).__name__
        return (
            f"compute_metrics asks for the column {name!r} (by include_for_metrics or its attribute 'columns'), but not every "
            f"row has it, and the batch not one entry per row; the first row has {columns}. Correct the name, or add the "
            "column to the evaluation set."
        )


def popped_columns(batch: Any) -> Mapping[str, Any]:
    """Take the columns out of a batch that WithColumns made, a dict; another one has none and is left as it is."""
    columns: Mapping[str, Any] = batch.pop(_KEY) if _KEY in batch else {}
    return columns


def refuse_missing(columns: Mapping[str, Any]) -> None:
    """Raise for a column that compute_metrics needs.

    Args:
        columns: Those of a batch with labels, as ``popped_columns`` gives them.

    Raises:
        ValueError: Its rows lack one.
    """
    for values in columns.values():
        if isinstance(values, str):
            raise ValueError(values)


class MetricColumns:
    """The columns of an evaluated set, collected batch by batch."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was collected."""
        self._found: dict[str, list[Any]] = {}

    def add(self, columns: Mapping[str, Any], gather: Callable[[list[Any]], list[Any]]) -> None:
        """Add the columns of a batch with labels.

        Args:
            columns: As ``popped_columns`` gives them.
            gather: Joins lists with one item per row over processes, without the rows that fill up the last batch.

        Raises:
            ValueError: As ``refuse_missing``.
        """
        refuse_missing(columns)
        for name, values in columns.items():
            self._found.setdefault(name, []).extend(gather(values))

    def given_to(self, compute_metrics: Callable[..., Any], main_input: str) -> Callable[..., Any]:
        """``compute_metrics`` with the columns in the field ``inputs`` of its EvalPrediction.

        Args:
            compute_metrics: The user's function.
            main_input: The column that Trainer itself puts there with ``include_for_metrics=["inputs"]``.
        """

        def compute(prediction: EvalPrediction, **options: Any) -> Any:
            given = prediction.inputs
            if given is not None and not isinstance(given, Mapping):
                given = {main_input: given}
            columns = {name: as_array(values) for name, values in self._found.items()}
            self.reset()  # with batch_eval_metrics the next call is given the next batch
            inputs = {**(given or {}), **columns}
            return compute_metrics(
                EvalPrediction(prediction.predictions, prediction.label_ids, inputs, prediction.losses), **options
            )

        return compute


def as_array(values: Sequence[Any]) -> npt.NDArray[Any]:
    """(rows,) numbers, booleans or text; (rows, ...) where all values are arrays of one shape; else (rows,) objects."""
    if all(isinstance(value, bool | int | float | str) for value in values):
        same = len({str if isinstance(value, str) else float for value in values}) == 1
        if same:
            return np.asarray(values)
    elif all(isinstance(value, np.ndarray) for value in values) and len({value.shape for value in values}) == 1:
        return np.stack(values)
    found = np.empty(len(values), object)
    for place, value in enumerate(values):
        found[place] = value
    return found


def _plain(value: Any) -> Any:
    """Numbers of NumPy and torch as numbers, tensors as arrays on the host."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0 else value
