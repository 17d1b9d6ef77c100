"""TermLog: averages what training steps report between two log entries, without waiting for the device in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class TermLog:
    """Averages of scalars by name, each over the steps that reported it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, entries: Mapping[str, Tensor]) -> None:
        """Add the scalars of one step."""
        for name, value in entries.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def pop(self, names: list[str], accelerator: Any) -> dict[str, float]:
        """Averages of the reported scalars over steps and processes since the last call, by name.

        Args:
            names: All names that any process may have reported, in the same order on every process.
            accelerator: The accelerate.Accelerator that reduces over processes.
        """
        zero = torch.zeros((), device=accelerator.device)
        sums = torch.stack([self._sums.get(name, zero) for name in names]) if names else zero[None]
        counts = torch.tensor([float(self._counts.get(name, 0)) for name in names] or [0.0], device=accelerator.device)
        both = accelerator.reduce(torch.stack([sums, counts]), reduction="sum").tolist()
        self._sums, self._counts = {}, {}
        return {name: total / count for name, total, count in zip(names, *both, strict=False) if count}
