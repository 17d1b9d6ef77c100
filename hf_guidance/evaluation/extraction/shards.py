"""Shards: the files of an extraction, begun, filled one after the other, and declared whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hf_guidance.common.progress import progress_bar
from hf_guidance.data.images.map_files import (
    FINISHED,
    FORMAT,
    ROW_FINGERPRINT,
    UNFINISHED,
    files_of,
    read_facts,
    read_shard,
    shape_of,
    shard_name,
    write_facts,
    write_shard,
)
from hf_guidance.evaluation.extraction.batches import batches_of
from hf_guidance.evaluation.extraction.made_of import refuse_other
from hf_guidance.evaluation.extraction.processes import Processes

_logger = logging.getLogger(__name__)
Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shards:
    """The shards of one extraction, of which each process makes its own.

    Attributes:
        folder: Where they lie.
        fingerprints: Of the rows, in order.
        made_of: What the maps are made of.
        shard_rows: Rows of each but the last.
        processes: Those that work together.
    """

    folder: Path
    fingerprints: Sequence[str]
    made_of: Mapping[str, Any]
    shard_rows: int
    processes: Processes

    @classmethod
    def begun(
        cls, folder: Path, fingerprints: Sequence[str], made_of: Mapping[str, Any], shard_rows: int, overwrite: bool
    ) -> Shards:
        """Go on with the shards of a folder, or begin.

        Args:
            folder: Where they lie.
            fingerprints: Of the rows, in order.
            made_of: What the maps are made of.
            shard_rows: Rows of a shard where none was begun; a folder keeps its own.
            overwrite: Delete what is there first.

        Raises:
            ValueError: The folder holds maps of something else.
        """
        processes = Processes()
        there = None if overwrite else read_facts(folder / FINISHED) or read_facts(folder / UNFINISHED)
        if there is not None:
            refuse_other(there["made_of"], made_of, folder)
            shard_rows = there["shard_rows"]
        processes.wait()  # until all have looked
        if there is None and processes.index == 0:
            for file in files_of(folder):  # shards without a list could be of anything
                file.unlink(missing_ok=True)
            write_facts(folder / UNFINISHED, {"format": FORMAT, "made_of": made_of, "shard_rows": shard_rows})
        processes.wait()
        return cls(folder, fingerprints, made_of, shard_rows, processes)

    @property
    def names(self) -> list[str]:
        """File names of all shards, in the order of the rows."""
        count = -(-len(self.fingerprints) // self.shard_rows)
        return [shard_name(number, count) for number in range(count)]

    def rows(self, shard: int) -> range:
        """The numbers of the rows of a shard."""
        start = shard * self.shard_rows
        return range(start, min(start + self.shard_rows, len(self.fingerprints)))

    def waiting(self) -> list[int]:
        """The shards that this process is to make."""
        return [shard for shard in self.processes.share(range(len(self.names))) if not self._is_whole(shard)]

    def fill(
        self,
        waiting: Sequence[int],
        batches: Iterable[Mapping[str, Tensor]],
        maps_of: Callable[[Mapping[str, Tensor], Sequence[int]], Maps],
        batch_size: int,
    ) -> None:
        """Make shards, and write each as soon as its last map is there.

        Args:
            waiting: The shards.
            batches: The columns of their rows, as ``batches_of`` cuts them.
            maps_of: Makes the maps of a batch from its columns and the numbers of its rows.
            batch_size: As given to ``batches_of``.

        Raises:
            ValueError: A map has another size than those before it.
        """
        ranges = [self.rows(shard) for shard in waiting]
        left, made = iter(waiting), list[Maps]()
        with progress_bar(sum(map(len, ranges)), "extracting maps", unit="image") as bar:
            for numbers, columns in zip(batches_of(ranges, batch_size), batches, strict=True):
                made.append(maps_of(columns, numbers))
                if made[-1].shape[1:] != made[0].shape[1:]:
                    raise _other_size(f"row {numbers[0]}", made[-1].shape[1:], made[0].shape[1:])
                bar.update(len(numbers))
                if sum(map(len, made)) == self.shard_rows or numbers[-1] == len(self.fingerprints) - 1:
                    self._write(next(left), np.concatenate(made))
                    made.clear()

    def finish(self) -> None:
        """Wait for all processes, and declare the maps whole.

        Raises:
            ValueError: A shard is missing, or has maps of another size.
        """
        self.processes.wait()
        if self.processes.index == 0:
            shards = [read_shard(self.folder / name) for name in self.names]
            for name, shard in zip(self.names, shards, strict=True):
                if shape_of(shard) != shape_of(shards[0]):
                    raise _other_size(str(self.folder / name), shape_of(shard), shape_of(shards[0]))
            facts = {"format": FORMAT, "made_of": self.made_of, "shard_rows": self.shard_rows}
            more = {"shape": list(shape_of(shards[0])), "shards": self.names, "rows": [len(shard) for shard in shards]}
            write_facts(self.folder / FINISHED, facts | more)
            (self.folder / UNFINISHED).unlink(missing_ok=True)
        self.processes.wait()

    def _write(self, shard: int, maps: Maps) -> None:
        rows = self.rows(shard)
        write_shard(self.folder / self.names[shard], maps, self.fingerprints[rows.start : rows.stop])

    def _is_whole(self, shard: int) -> bool:
        file, rows = self.folder / self.names[shard], self.rows(shard)
        if not file.exists():
            return False
        try:
            found = read_shard(file)[ROW_FINGERPRINT][:]
        except ValueError as error:
            _logger.warning("%s It is made again.", error)
            return False
        return bool(found == self.fingerprints[rows.start : rows.stop])


def _other_size(where: str, size: Sequence[int], before: Sequence[int]) -> ValueError:
    return ValueError(
        f"the maps from {where} on are {tuple(size)} (height, width), those before {tuple(before)}: images differ in size "
        "after the processor. Give a processor that resizes all to one size."
    )
