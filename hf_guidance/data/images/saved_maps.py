"""SavedMaps: where the original model looks in every row of a training set, read from the files of ``extract_maps``."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from torch import nn

from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.data.images.map_files import (
    FINISHED,
    ROW_FINGERPRINT,
    UNFINISHED,
    read_facts,
    read_shard,
    shape_of,
    views_of,
)
from hf_guidance.data.images.row_fingerprint import row_fingerprints

_logger = logging.getLogger(__name__)
_EXTRACT = "Extract the maps again, into another folder."


@dataclass(frozen=True, eq=False)
class SavedMaps:
    """The maps of a model on the rows of a data set, one per row, in the order of the rows.

    ``len`` is their number and ``maps[i]`` the map of row i, (height, width) float32 as the attribution made it, neither
    normalised nor resized. Shards are mapped into memory: a map is read when it is asked for. For a model of another
    architecture (CRAYON's transfer) the objectives resize the maps.

    Attributes:
        folder: Where they lie.
        made_of: What they were made of: the model's class and weights, the attribution, the processor, the rows.
        rows: Columns ``saved_map`` and ``row_fingerprint``.

    Example:
        >>> maps = SavedMaps.from_folder("maps")
        >>> len(maps), maps[0].shape, maps[0].dtype
        (4795, (7, 7), dtype('float32'))
    """

    folder: Path
    made_of: Mapping[str, Any] = field(repr=False)
    rows: datasets.Dataset = field(repr=False)

    @classmethod
    def from_folder(cls, folder: str | Path) -> SavedMaps:
        """Open the maps of a folder.

        Args:
            folder: As given to ``extract_maps``.

        Raises:
            ValueError: It holds no maps, they are unfinished, or a shard is missing or damaged; the message names it.
        """
        folder = Path(folder)
        facts = read_facts(folder / FINISHED)
        if facts is None:
            unfinished = read_facts(folder / UNFINISHED) is not None
            raise ValueError(
                f"the maps in {folder} are unfinished; run extract_maps with the same arguments, it goes on where it ended."
                if unfinished
                else f"{folder} holds no maps (there is no {FINISHED}); make them with extract_maps(model, dataset, folder)."
            )
        shards = [read_shard(folder / name) for name in facts["shards"]]
        for shard, name, rows in zip(shards, facts["shards"], facts["rows"], strict=True):
            if len(shard) != rows or list(shape_of(shard)) != facts["shape"]:
                raise ValueError(
                    f"{folder / name} holds {len(shard)} maps of {shape_of(shard)}, and {FINISHED} says {rows} of "
                    f"{tuple(facts['shape'])}: it is damaged, or of other maps. Delete it, and run "
                    "extract_maps with the same arguments: it makes only what is missing."
                )
        return cls(folder, facts["made_of"], datasets.concatenate_datasets(shards))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        """The map of a row, (height, width) float32: a view of the file, which cannot be written to."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no map {index}; there are {len(self)}, numbered from 0.")
        index %= len(self)
        shard = bisect_right(self._starts, index) - 1
        found: npt.NDArray[np.float32] = self._views[shard][index - self._starts[shard]]
        return found

    def taken(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        """Some of the maps, (n, height, width) float32."""
        return np.stack([self[index] for index in indices]) if len(indices) else np.zeros((0, *self.shape), np.float32)

    @cached_property
    def _views(self) -> list[npt.NDArray[np.float32]]:
        return views_of(self.rows)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *itertools.accumulate(map(len, self._views[:-1]))]

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedMaps.from_folder, (self.folder,)  # by the files: a worker that is started maps them, too

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of each map."""
        return shape_of(self.rows)

    @property
    def fingerprint(self) -> str:
        """A short text that tells these maps from those of other weights, rows, attributions or processors."""
        plain = json.dumps(self.made_of, sort_keys=True)
        return hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()

    def check(self, model: nn.Module | None = None, dataset: Any = None) -> None:
        """Raise where the maps are of another model or data set.

        Args:
            model: The original model; not one that is trained with the maps.
            dataset: Rows that shall all have a map. Their order does not matter, and rows may be left out.

        Raises:
            ValueError: They are; the message says in what they differ.
        """
        made = self.made_of["model"]
        if model is not None and weights_digest(model) != made["weights"]:
            raise ValueError(
                f"the maps in {self.folder} are of other weights, of a {made['class']}, than this {type(model).__name__}: it "
                f"was trained further or cast, or is another model. Load the model that they were made of. {_EXTRACT}"
            )
        if dataset is not None:
            self.positions_of(dataset)

    def positions_of(self, dataset: Any, allow_missing: bool = False) -> npt.NDArray[np.int64]:
        """Which map belongs to each row, by the rows' fingerprints; the log says where the order differs.

        Equal rows, with the same id, labels and pixels, are told apart by their order.

        Args:
            dataset: As for `row_fingerprints`.
            allow_missing: Give -1 for rows without a map, and log how many they are.

        Returns:
            (rows,) positions.

        Raises:
            ValueError: Rows have no map, and that is not allowed; or ``dataset`` is a stream.
        """
        known: list[str] = self.rows.with_format(None)[ROW_FINGERPRINT][:]
        wanted = row_fingerprints(dataset)
        if wanted == known:
            return np.arange(len(known))
        waiting: dict[str, list[int]] = {}
        for position, fingerprint in enumerate(known):
            waiting.setdefault(fingerprint, []).append(position)
        seen: dict[str, int] = {}
        positions = np.full(len(wanted), -1, np.int64)
        for row, fingerprint in enumerate(wanted):
            equal = waiting.get(fingerprint, [])
            if equal:
                positions[row] = equal[min(seen.get(fingerprint, 0), len(equal) - 1)]
                seen[fingerprint] = seen.get(fingerprint, 0) + 1
        self._tell(positions, allow_missing)
        return positions

    def _tell(self, positions: npt.NDArray[np.int64], allow_missing: bool) -> None:
        missing = np.flatnonzero(positions < 0)
        if len(missing) and not allow_missing:
            raise ValueError(
                f"{len(missing)} of {len(positions)} rows of the data set have no map in {self.folder}, the first is row "
                f"{missing[0]}: the data set is another, or its images, ids or labels changed since the maps were made. Give "
                "the data set as it was (a list of decoded rows is another than the datasets.Dataset), or extract the "
                "maps again; with_answers(allow_missing=True) leaves them unanswered."
            )
        left_out = len(self) - len(np.unique(positions[positions >= 0]))
        _logger.warning(
            "the rows of the data set are not those of the maps in %s in the same order; they are matched by their "
            "fingerprints: %d rows, %d without a map, %d maps without a row.",
            self.folder, len(positions), len(missing), left_out,
        )  # fmt: skip
