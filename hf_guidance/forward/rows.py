"""Which explained rows, (image, target) pairs, a step uses, and how a batch is reduced to some of its images.

A batch holds image columns (one entry per image) and columns of explained rows (one entry per pair): ``row``,
``slot``, ``annotated`` (lists on the host, so that choosing pairs never waits for the device), ``target``, and those with
human importance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_guidance.data.columns import ANNOTATED, EXPLAINED_ROW_COLUMNS, ROW, SLOT, TIME


class ExplainedRows:
    """Choose explained rows and images of batches.

    Args:
        columns: Batch columns with one entry per explained row, beside those of the library: what a custom collator makes,
            and what objectives read as importance.
        features: The batch column whose entries are the images.

    Raises:
        ValueError: The batch lacks the column of the images. On a cut, a list or a tensor has neither one entry per image
            nor is named in ``columns``.
    """

    def __init__(self, columns: Iterable[str] = (), features: str = "pixel_values") -> None:
        self.columns = frozenset((*EXPLAINED_ROW_COLUMNS, *columns))
        self.features = features

    def draw_one_per_image(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Keep one explained row per image, drawn uniformly (arXiv 2303.11932: one positive class per image and step).

        Of captions, whose rows have a ``time``, all are kept: the loss is on every visual word (arXiv 1902.03751, section 5).
        Draws from torch's global CPU generator, which checkpoints store: a resumed run draws the same classes.

        Args:
            batch: A collated batch; without the column ``row`` it is returned unchanged, and with ``time``.
        """
        if ROW not in batch or TIME in batch:
            return dict(batch)
        of_image: dict[int, list[int]] = {}
        for index, image in enumerate(batch[ROW]):
            of_image.setdefault(image, []).append(index)
        chosen = [
            pairs[0] if len(pairs) == 1 else pairs[int(torch.randint(len(pairs), ()))] for pairs in of_image.values()
        ]
        drawn = self._take_rows(batch, chosen)
        drawn[SLOT] = [0] * len(chosen)
        return drawn

    def images(self, batch: Mapping[str, Any]) -> int:
        """How many images the batch holds."""
        if self.features not in batch:
            raise ValueError(
                f"the batch has no column {self.features!r}, which holds the images; its columns are {sorted(batch)}: name the "
                "images so in the collate function, or give the family the name as features=..."
            )
        return len(batch[self.features])

    def annotated_images(self, batch: Mapping[str, Any]) -> list[int]:
        """Images with an annotated explained row, in order; all images if there is no column ``annotated``."""
        if ANNOTATED not in batch:
            return list(range(self.images(batch)))
        rows = batch.get(ROW, range(len(batch[ANNOTATED])))
        return sorted({image for image, annotated in zip(rows, batch[ANNOTATED], strict=True) if annotated})

    def annotated_only(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the explained rows without annotation; the images stay."""
        if ANNOTATED not in batch or all(batch[ANNOTATED]):
            return dict(batch)
        rows = _numbered(batch, len(batch[ANNOTATED]))
        return self._take_rows(rows, [index for index, annotated in enumerate(batch[ANNOTATED]) if annotated])

    def take_images(self, batch: Mapping[str, Any], images: Sequence[int]) -> dict[str, Any]:
        """Reduce the batch to some of its images, with their explained rows."""
        new_place = {image: place for place, image in enumerate(images)}
        rows = dict(batch)
        count = next((len(value) for name, value in batch.items() if name in self.columns), None)
        if count is not None:
            rows = _numbered(batch, count)
            rows = self._take_rows(rows, [index for index, image in enumerate(rows[ROW]) if image in new_place])
            rows[ROW] = [new_place[image] for image in rows[ROW]]
        total = self.images(batch)
        return {
            name: value if name in self.columns else _take(name, value, images, total, whole=(tuple, np.ndarray))
            for name, value in rows.items()
        }

    def _take_rows(self, batch: Mapping[str, Any], chosen: Sequence[int]) -> dict[str, Any]:
        count = len(batch[ROW])
        if list(chosen) == list(range(count)):
            return dict(batch)
        return {
            name: _take(name, value, chosen, count) if name in self.columns else value for name, value in batch.items()
        }


def _numbered(batch: Mapping[str, Any], count: int) -> dict[str, Any]:
    # Without columns row and slot every image has one explained row.
    return {ROW: list(range(count)), SLOT: [0] * count} | dict(batch)


def _take(name: str, value: Any, chosen: Sequence[int], count: int, whole: tuple[type, ...] = ()) -> Any:
    # Values of the types in ``whole``, and what a mapping holds beside them, belong to the whole batch at another length.
    if isinstance(value, Mapping):
        inside = (object,) if whole else ()
        return {key: _take(f"{name}[{key!r}]", inner, chosen, count, inside) for key, inner in value.items()}
    if not (isinstance(value, list | tuple) or (isinstance(value, Tensor | np.ndarray) and value.ndim)):
        return value  # one for the whole batch: None, a number, a text
    size = whole and isinstance(value, tuple) and all(isinstance(entry, Number) for entry in value)
    if size or (len(value) != count and isinstance(value, whole)):
        return value  # such as size=(8, 8), also in a batch of two images
    if len(value) != count:
        raise ValueError(
            f"column {name!r} has {len(value)} entries, and {count} were expected: give one per image, or one per explained "
            "row and name the column in the collator's explained_row_columns."
        )
    if isinstance(value, Tensor):
        return value[torch.tensor(chosen, dtype=torch.long, device=value.device)]
    if isinstance(value, np.ndarray):
        return value[np.array(chosen, dtype=int)]
    cut = [value[index] for index in chosen]
    return tuple(cut) if isinstance(value, tuple) else cut
