"""ExplainedRowsCollator: a collate function of your own, with the columns of explained rows added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from hf_guidance.data.collator import RowCollator

_IN_FULL, _STEP = 2, 7  # the first batches are compared in full, those after at every 7th line and column


@dataclass
class ExplainedRowsCollator(RowCollator):
    """Collate by a function of your own, and add what guidance reads.

    Model inputs and labels are those of your function. Importance and the other columns of explained rows come from a
    collator of this library over the same rows, so both must see the same pixels: where a function mixes, moves or
    normalises images, the importance would not follow, and the batch is refused. The first batches are compared in full, the
    others at every seventh line and column of pixels.

    Args:
        collate: Your function; it returns a dict with one entry per row in every tensor.
        explained: Makes the explained rows, for example ``GuidanceCollator(None, "single_label_classification", 10)`` where
            a transform of the rows makes ``pixel_values``, or with the image processor that your function applies.

    Raises:
        ValueError: On construction, ``explained`` is not a RowCollator; on call, the two make different pixels.

    Example:
        >>> train = train.with_transform(JointTransform(pipeline))
        >>> collator = ExplainedRowsCollator(collate_fn, GuidanceCollator(None, num_labels=10))
    """

    collate: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]
    explained: RowCollator

    def __post_init__(self) -> None:
        if not isinstance(self.explained, RowCollator):
            raise ValueError(
                f"explained={self.explained!r} is a {type(self.explained).__name__}; give a collator of this library, as "
                "GuidanceCollator(None, 'single_label_classification', num_labels)."
            )
        self._compared = 0
        self.columns = self.explained.columns  # type: ignore[misc]
        self.sources = self.explained.sources  # type: ignore[misc]
        self.explained_row_columns = self.explained.explained_row_columns  # type: ignore[misc]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate; see the class."""
        batch, explained = dict(self.collate(rows)), self.explained(rows)
        for name, ours in explained.items():
            if name in self.explained_row_columns:
                batch[name] = ours
            elif name != "labels" and isinstance(ours, Tensor) and name in batch:
                _check_same(name, batch[name], ours, 1 if self._compared < _IN_FULL else _STEP)
        self._compared += 1
        return batch

    def check_rows(self, rows: Any, name: str) -> None:
        """The check of ``explained``."""
        self.explained.check_rows(rows, name)

    def check_training_rows(self, rows: Any, name: str) -> None:
        """The check of ``explained``."""
        self.explained.check_training_rows(rows, name)

    def check_evaluation_rows(self, rows: Any, name: str) -> None:
        """The check of ``explained``."""
        self.explained.check_evaluation_rows(rows, name)

    def for_evaluation(self) -> Self:
        """The same function, with annotations unchanged."""
        return replace(self, explained=self.explained.for_evaluation())


def _check_same(name: str, given: Any, ours: Tensor, step: int) -> None:
    shape = tuple(getattr(given, "shape", ()))
    if shape == tuple(ours.shape):
        places = (..., slice(None, None, step), slice(None, None, step)) if ours.dim() > 2 else ...
        if torch.equal(given[places], ours[places].to(given.dtype)):
            return
    found = f"of shape {shape}" if shape != tuple(ours.shape) else "with other values"
    raise ValueError(
        f"the collate function makes {name!r} {found}, the rows' importance belongs to {tuple(ours.shape)} as they are: it "
        "would not follow. Crop, flip, mix or normalise in a transform of the rows (JointTransform with with_transform, or "
        "GuidanceCollator(transform=...)), not in the collate function."
    )
