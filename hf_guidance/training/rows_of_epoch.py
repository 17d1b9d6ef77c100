"""Rows that are drawn anew in every epoch are told the epoch, whatever the loader."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

_ROUNDING = 1e-6


class RowsOfEpoch(TrainerCallback):  # type: ignore[misc]
    """Calls ``train_dataset.set_epoch`` at the begin of every epoch, where the data set has it.

    The loaders of accelerate do so only where no sampler has a ``set_epoch``: neither with several processes nor after a
    resume in the middle of an epoch.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the number of whole epochs before this one."""
        rows: Any = getattr(kwargs.get("train_dataloader"), "dataset", None)
        if hasattr(rows, "set_epoch"):
            rows.set_epoch(int((state.epoch or 0) + _ROUNDING))
