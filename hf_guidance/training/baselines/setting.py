"""Setting: the model and the training set before the first step, for what a method reads of all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hf_guidance.common.eval_mode import evaluating
from hf_guidance.common.generators import generators_kept
from hf_guidance.common.progress import progress
from hf_guidance.common.wrappers import unwrapped
from hf_guidance.forward import full_precision
from hf_guidance.training.baselines.classifier import Classifier
from hf_guidance.training.baselines.labels import class_labels


@dataclass(frozen=True)
class Setting:
    """What a method may read before the first step. Reading moves neither weights nor generators.

    Attributes:
        main: The model as training begins.
        rows: The training set, one row per index.
        loader: Makes a loader of the rows in their order, collated as for evaluation: without augmentation.
        prepared: Brings a batch of it to the device.
        autocast: Makes the context in which models are called.
        device: Where models are called.
        seed: Of the training.
        collator: The collator of the training.
    """

    main: Classifier
    rows: Any
    loader: Callable[[], DataLoader[Any]]
    prepared: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    autocast: Callable[[], AbstractContextManager[Any]]
    device: torch.device
    seed: int
    collator: Any

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, what: str, model: nn.Module) -> Iterator[Mapping[str, Any]]:
        """The batches of all rows in their order; ``model`` is in eval mode meanwhile, and keeps no graph."""
        with generators_kept(self.device):
            loaded = iter(progress(self.loader(), what))
        while True:
            with generators_kept(self.device):
                batch = next(loaded, None)  # a transform of the rows may draw
            if batch is None:
                return
            with generators_kept(self.device), evaluating(model), torch.no_grad(), self.autocast():
                yield self.prepared(batch)

    def predicted(self, what: str, model: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Logits (rows, classes) and labels (rows,) of all rows, on the host.

        Args:
            what: What for, before a progress bar.
            model: The model; the trained one, as it is now, when None.

        Raises:
            ValueError: As ``class_labels``.
        """
        classifier = self.classifier(model)
        found: list[tuple[Tensor, Tensor]] = []
        for batch in self.batches(what, unwrapped(classifier.model)):
            logits = full_precision(classifier.logits(batch))
            found.append((logits.cpu(), class_labels(batch, logits).cpu()))
        return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found])

    def features(self, what: str, model: nn.Module | None = None, head: str | None = None) -> tuple[Tensor, Tensor]:
        """What the last layer reads, (rows, features), and labels (rows,), of all rows, on the host.

        Args:
            what: What for, before a progress bar.
            model: The model; the trained one, as it is now, when None.
            head: Path of its last layer; found when None.

        Raises:
            ValueError: As ``Classifier.with_features`` and ``class_labels``.
        """
        classifier = self.classifier(model)
        found: list[tuple[Tensor, Tensor]] = []
        for batch in self.batches(what, unwrapped(classifier.model)):
            logits, features = classifier.with_features(batch, head)
            found.append((full_precision(features).cpu(), class_labels(batch, logits).cpu()))
        return torch.cat([features for features, _ in found]), torch.cat([labels for _, labels in found])

    def classifier(self, model: nn.Module | None) -> Classifier:
        """A model on the device with its family; the trained one when None."""
        return self.main if model is None else Classifier.of(model.to(self.device))

    def groups(self, column: str, method: str) -> Tensor:
        """The group of every row, (rows,) int64 from 0 on, of a column of integers.

        Args:
            column: Name of the column.
            method: Name of the method, for the error.

        Raises:
            ValueError: The rows have no such column, it holds other values than integers >= 0, or a number below the highest
                one has no row.
        """
        values = _column(self.rows, column)
        if values is None or any(value is None for value in values):
            lacking = "no" if values is None else "not in every row the"
            names = getattr(self.rows, "column_names", None) or sorted(self.rows[0])
            raise ValueError(
                f"{method} reads the group of every row, and the training set has {lacking} column {column!r}; its columns are "
                f"{names}. Add it, an integer per row, such as 2 * label + place: dataset.add_column({column!r}, groups)."
            )
        if wrong := next((value for value in values if not _whole(value)), None):
            raise ValueError(f"{method}: the column {column!r} holds {wrong!r}; groups are integers from 0 on.")
        groups = torch.tensor([int(value) for value in values])
        counts = torch.bincount(groups)
        if empty := (counts == 0).nonzero().flatten().tolist():
            raise ValueError(
                f"{method}: the groups {empty} have no row in the training set, whose groups are 0 to {len(counts) - 1} with "
                f"{counts.tolist()} rows; number the groups that it has from 0 on."
            )
        return groups


def _whole(value: Any) -> bool:
    return not isinstance(value, bool | str) and hasattr(value, "__index__") and int(value) >= 0


def _column(rows: Any, name: str) -> Sequence[Any] | None:
    if isinstance(rows, datasets.Dataset) and name in rows.column_names:
        plain = rows.with_format(None)  # images stay as they are
        return list(plain[name])
    if isinstance(rows, datasets.Dataset) and rows.format["type"] != "custom":
        return None
    values = [rows[index].get(name) for index in range(len(rows))]
    return None if all(value is None for value in values) else values
