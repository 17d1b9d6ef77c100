"""The state of a method in a checkpoint: written whole, read without running code."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from hf_guidance.common.whole_file import whole_file

STATE_FILE = "baseline_state.pt"


def save_state(folder: str | Path, content: dict[str, Any]) -> None:
    """Write tensors, numbers and texts into the folder of a checkpoint."""
    with whole_file(Path(folder) / STATE_FILE) as draft:
        torch.save(content, draft)


def load_state(folder: str | Path, kind: str, rows: int) -> dict[str, Any]:
    """Read what ``save_state`` wrote; tensors are on the host.

    Args:
        folder: The folder of the checkpoint.
        kind: Name of the method that goes on.
        rows: Number of rows of its training set.

    Raises:
        ValueError: There is no such file, it is damaged, or it is of another method or another training set.
    """
    file = Path(folder) / STATE_FILE
    if not file.is_file():
        raise ValueError(
            f"{folder} holds no {STATE_FILE}, the state of {kind}: it was written by another trainer or with save_only_model. "
            "Begin anew, with the model of that folder."
        )
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        found, count = saved["kind"], saved["rows"]
    except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged or cut off; take another checkpoint.") from error
    if found != kind:
        raise ValueError(
            f"{file} is the state of {found}, and the trainer's method is {kind}; resume with {found}(...)."
        )
    if count != rows:
        raise ValueError(
            f"{file} is of a training set of {count} rows, and this one has {rows}; resume with the rows of the first run."
        )
    return saved
