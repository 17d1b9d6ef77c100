"""Several processes that extract together: who does what, and who waits for whom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from hf_guidance.data.images.row_fingerprint import check_numbered, row_fingerprints


class Processes:
    """The processes that were launched together (torchrun, ``accelerate launch``); one where none were.

    Accelerate's state is made only where there are several: it would choose the device of a trainer that is made later.

    Raises:
        ValueError: Several were launched that do not know of each other.
    """

    def __init__(self) -> None:
        grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        several = grouped or launched > 1
        self._state = PartialState(cpu=not torch.accelerator.is_available()) if several else None
        if launched > 1 and self.number == 1:  # each would write everything, all into the same files
            raise ValueError(
                f"{launched} processes were launched, and Accelerate's state, made before, knows of one; set it up for all "
                "of them, PartialState(cpu=True) where there is no accelerator, or run in one process."
            )

    @property
    def number(self) -> int:
        """How many there are."""
        return 1 if self._state is None else int(self._state.num_processes)

    @property
    def index(self) -> int:
        """Which one this is; 0 writes what there is once."""
        return 0 if self._state is None else int(self._state.process_index)

    def wait(self) -> None:
        """Wait until all are here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def fingerprints(self, dataset: Any) -> list[str]:
        """Those of all rows, in order; each process reads a part.

        Raises:
            ValueError: As `row_fingerprints`.
        """
        check_numbered(dataset)
        if self._state is None:
            return row_fingerprints(dataset)
        share = -(-len(dataset) // self.number)
        own = range(min(len(dataset), self.index * share), min(len(dataset), (self.index + 1) * share))
        part = dataset.select(own) if hasattr(dataset, "select") else [dataset[i] for i in own]
        found: list[str] = gather_object(row_fingerprints(part))
        return found

    def share(self, shards: Sequence[int]) -> list[int]:
        """The shards that this process makes: every n-th of them."""
        return list(shards[self.index :: self.number])
