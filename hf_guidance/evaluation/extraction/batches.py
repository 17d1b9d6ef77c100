"""Batches of rows for extract_maps, and the maps of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from hf_guidance.attributions import Attribution, ContrastLogits, LabelLogit
from hf_guidance.data.columns import EXPLAINED_ROW_COLUMNS, IMAGE_SOURCES, ROW, TARGET
from hf_guidance.evaluation.explaining.models import device_of
from hf_guidance.families import Family
from hf_guidance.forward import Forward, full_precision


@dataclass(frozen=True)
class InputsOnly:
    """Collates rows into what the model and the target read; everything else stays in the worker.

    Args:
        collate: The collator; boxes and masks of the rows are not given to it.
    """

    collate: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Tensors with one entry per row; ``target`` only where each row has exactly one class."""
        batch = self.collate([{name: row[name] for name in row if name not in IMAGE_SOURCES} for row in rows])
        kept = {
            name: value
            for name, value in batch.items()
            if isinstance(value, Tensor) and name not in EXPLAINED_ROW_COLUMNS
        }
        alone = batch.get(ROW, list(range(len(rows)))) == list(range(len(rows)))
        return kept | ({TARGET: batch[TARGET]} if alone and TARGET in batch else {})


def batches_of(ranges: Sequence[range], size: int) -> Iterator[list[int]]:
    """The numbers of the rows of some shards in batches, none of which reaches from one shard into the next."""
    for rows in ranges:
        for start in range(0, len(rows), size):
            yield list(rows[start : start + size])


@dataclass(frozen=True)
class MapMaker:
    """Makes the maps of batches; used inside ``quiet``.

    Attributes:
        model: The unwrapped model.
        family: Of the model.
        method: The attribution.
        max_rows: As for `Forward`.
    """

    model: nn.Module
    family: Family
    method: Attribution
    max_rows: int | None

    def __call__(self, columns: Mapping[str, Tensor], rows: Sequence[int]) -> npt.NDArray[np.float32]:
        """The maps of a batch, (rows, height, width).

        Args:
            columns: Of `InputsOnly`.
            rows: Numbers of the rows, for errors.

        Raises:
            ValueError: A row has no label, or several, and the target needs one; or the map is not one finite number per
                place.
        """
        where = f"rows {rows[0]} to {rows[-1]}"
        if TARGET not in columns and isinstance(self.method.target, LabelLogit | ContrastLogits):
            raise ValueError(
                f"{where}: {type(self.method.target).__name__} explains the label of a row, and there are rows with none or "
                "with several. Give one label in column 'labels', or another target, as GradCAM(target=PredictedLogit())."
            )
        device = device_of(self.model)
        batch = {name: value.to(device) for name, value in columns.items()}
        forward = Forward(self.model, self.family, batch, self.method.needs(), max_rows=self.max_rows)
        maps = full_precision(forward.attribution(self.method).detach())
        if maps.dim() != 3:
            raise ValueError(
                f"{self.method} gives {tuple(maps.shape[1:])} for a row, not one number per place; choose a layer with places, "
                "and an attribution that sums over channels."
            )
        found: npt.NDArray[np.float32] = maps.float().cpu().numpy()
        if not np.isfinite(found).all():
            first = int(np.flatnonzero(~np.isfinite(found).all((1, 2)))[0])
            raise ValueError(
                f"row {rows[first]}: {self.method} gives NaN or infinity. Has the model diverged, do gradients overflow in "
                "its dtype (try model.float()), or has the image such pixels?"
            )
        return found
