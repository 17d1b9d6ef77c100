"""BatchColumns: the columns of a batch, laid out as explained rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hf_guidance.data.columns import ANNOTATED, ROW, SLOT, TIME
from hf_guidance.families import Family
from hf_guidance.families.grid import fits
from hf_guidance.families.words import words_of
from hf_guidance.forward.maps import onto_places


class BatchColumns:
    """The columns of a batch as a step reads them, before any model call.

    Rows are explained rows, (image, target) pairs. With the columns ``row`` and ``slot``, explained row r belongs to image
    ``row[r]``, and the explained rows of one ``slot`` hold every image at most once. Without them, every image is one
    explained row. Where a model gives logits for every time of a sequence, as of a caption, row r is about ``time[r]``.

    Args:
        family: The family of the model.
        batch: Column name -> tensor; ``row``, ``slot``, ``time`` and ``annotated`` are lists on the host.

    Raises:
        ValueError: The features are missing, one slot holds an image twice, or there is not one time for each row.
    """

    def __init__(self, family: Family, batch: Mapping[str, Any]) -> None:
        self.family = family
        self.batch = batch
        self._memo: dict[Any, Tensor] = {}
        features = self.column(family.features)
        self.images = len(features)
        if family.images and features.dim() != 4:
            raise ValueError(
                f"column {family.features!r} has shape {tuple(features.shape)}; images are (images, channels, height, width). "
                "Models that take an image as several tiles or as flattened patches (Idefics3, SmolVLM, SigLIP 2) have no map "
                "of the whole image: use a processor and a model without tiling."
            )
        words = words_of(family.inputs) if family.times else None
        if words is not None and words not in batch:
            how = "CaptionCollator(decoder=True)" if words.startswith("decoder") else "CaptionCollator()"
            raise ValueError(
                f"the batch has no column {words!r} with the words of the captions; it has {sorted(batch)}. For this "
                f"model they are made by {how}, of rows with a caption."
            )
        self._seen: dict[tuple[int, ...], tuple[float, float]] = {}
        self._image_size = (int(features.shape[-2]), int(features.shape[-1])) if features.dim() == 4 else None
        self.row: list[int] = batch.get(ROW, list(range(self.images)))
        self.slot: list[int] = batch.get(SLOT, [0] * len(self.row))
        if len(set(zip(self.row, self.slot, strict=True))) < len(self.row):
            raise ValueError(
                f"columns row={self.row} and slot={self.slot} hold an image twice in one slot, so its gradients would be "
                "added up; number the explained rows of each image by slot 0, 1, 2."
            )
        self.time: list[int] | None = batch.get(TIME)
        if self.time is not None and len(self.time) != len(self.row):
            raise ValueError(f"column time has {len(self.time)} entries, the batch {len(self.row)} explained rows.")
        self._row = (
            None
            if self.row == list(range(self.images))
            else torch.tensor(self.row, dtype=torch.long, device=features.device)
        )

    def column(self, name: str) -> Any:
        """A column of the batch.

        Raises:
            ValueError: The batch has no such column; the message lists those it has.
        """
        if name not in self.batch:
            raise ValueError(
                f"the batch has no column {name!r}; it has {sorted(self.batch)}. Does the collator make it?"
            )
        return self.batch[name]

    @property
    def annotated(self) -> Tensor:
        """(rows,) float32, 1 for explained rows with human importance; all 1 without the column ``annotated``."""
        device = self.column(self.family.features).device
        return torch.tensor(self.batch.get(ANNOTATED, [True] * len(self.row)), device=device, dtype=torch.float32)

    def of_rows(self, values: Tensor) -> Tensor:
        """Give every explained row the value of its image: (images, ...) -> (rows, ...)."""
        return values if self._row is None else values[self._row]

    def logits_of_rows(self, logits: Tensor) -> Tensor:
        """The logits that the explained rows are about: those of their image, at their time where there are times.

        Args:
            logits: (copies, images, classes), or (copies, images, times, classes) with the column ``time``.

        Returns:
            (copies, rows, classes).

        Raises:
            ValueError: Logits for every time and no column ``time``, or the reverse; a time that the logits do not have.
        """
        self.check_times(logits)
        if self.time is None:
            return logits if self._row is None else logits.index_select(1, self._row)
        return logits[:, *self.rows_and_times()]

    def rows_and_times(self) -> tuple[Tensor, Tensor]:
        """The image and the time of every explained row, (rows,) int64 each, on the device of the features.

        Raises:
            ValueError: The batch has no column ``time``.
        """
        device, times = self.column(self.family.features).device, self.column(TIME)
        pairs = (("rows", self.row), ("times", times))
        row, time = (
            self._once(key, lambda given=given: torch.tensor(given, dtype=torch.long, device=device))
            for key, given in pairs
        )
        return row, time

    def check_times(self, logits: Tensor) -> None:
        """Raise where the column ``time`` and logits, laid out as for `logits_of_rows`, do not fit each other."""
        shape = tuple(logits.shape[1:])
        if (self.time is not None) != (len(shape) == 3):
            raise ValueError(
                f"the model's logits are {shape}, and the batch has {'a' if self.time is not None else 'no'} column 'time': "
                "rows of a sequence need logits (images, times, classes) and the time of each row, as CaptionCollator makes; "
                "those of a class need (images, classes) and no time."
            )
        beyond = [time for time in self.time or () if not 0 <= time < shape[1]]
        if beyond:
            raise ValueError(
                f"column time holds {beyond[0]}, and the model gives logits for the times 0 to {shape[1] - 1}."
            )

    def of_images(self, values: Tensor) -> Tensor:
        """Give every image the largest value (>= 0) of its explained rows, 0 if it has none: (rows, ...) -> (images, ...)."""
        if self._row is None:
            return values
        index = self._row.reshape(-1, *[1] * (values.dim() - 1)).expand_as(values)
        return values.new_zeros(self.images, *values.shape[1:]).scatter_reduce(0, index, values, "amax")

    def importance(self, column: str, space: Iterable[int] | None = None) -> Tensor:
        """Human importance of the explained rows, averaged by area onto ``space`` if it has another size.

        Args:
            column: Name of the column, (rows, height, width) or (rows, n), values in [0, 1], any real dtype.
            space: (height, width) or (n,) wanted; None keeps the column's own.

        Returns:
            (rows, *space) floating point.

        Raises:
            ValueError: The column is missing or has not one entry per explained row, or a vector has another length.
        """
        values = torch.as_tensor(self.column(column), device=self.column(self.family.features).device)
        if len(values) != len(self.row):
            raise ValueError(
                f"column {column!r} has {len(values)} entries, the batch {len(self.row)} explained rows; give one for each, "
                "and name the column in the collator's explained_row_columns."
            )
        values = values if values.is_floating_point() else values.to(torch.get_default_dtype())
        wanted = tuple(values.shape[1:]) if space is None else tuple(space)
        if tuple(values.shape[1:]) == wanted:
            return values
        if len(wanted) != 2 or values.dim() != 3:
            raise ValueError(
                f"column {column!r} holds {tuple(values.shape[1:])} per explained row, the layer {wanted}; they differ."
            )
        seen = self.seen(wanted)
        return self._once(("importance", column, wanted), lambda: onto_places(values, (wanted[0], wanted[1]), seen))

    def seen(self, space: tuple[int, ...]) -> tuple[float, float]:
        """(height, width) of the part of the image that a grid of places covers, as shares of the image's.

        1 but for nets that cut the image into patches: 14 x 14 patches of 16 pixels cover 0.97 of 230 pixels, and 8 x 8 of 32
        pixels, which the net pads to, 1.11. Also 1 if the grid is not what the patches make of an image of this size, because
        the net resizes the image itself, or pools its places to a number of their own.
        """
        return self._seen.get(tuple(space), (1.0, 1.0))

    def _note_seen(self, family: Family, activation: Tensor) -> None:
        if family.patch is None or self._image_size is None or activation.dim() != 4:
            return
        rows, columns = int(activation.shape[2]), int(activation.shape[3])
        if fits((rows, columns), self._image_size, family.patch):
            (height, width), pixels = family.patch, self._image_size
            self._seen[rows, columns] = (rows * height / pixels[0], columns * width / pixels[1])

    def real_places(self, space: tuple[int, ...]) -> Tensor | None:
        """(images, *space) bool, False at padding; None if there is no padding, or the column has another size."""
        name = self.family.places
        if name is None or self.batch.get(name) is None:
            return None
        real: Tensor = self.batch[name] != 0
        return real if tuple(real.shape[1:]) == tuple(space) else None

    def _once(self, key: Any, compute: Any) -> Tensor:
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]
