"""A batch as a step reads it, whichever of lists, arrays and tensors the collate function made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from hf_guidance.data.columns import HOST_COLUMNS


def plain_batch(batch: Mapping[str, Any], labels: Collection[str]) -> dict[str, Any]:
    """Make tensors of arrays of numbers and of lists of labels, and lists of the columns that stay on the host.

    Args:
        batch: The batch.
        labels: Names of its columns with labels.
    """
    return {name: _plain(name, value, labels) for name, value in batch.items()}


def _plain(name: str, value: Any, labels: Collection[str]) -> Any:
    if name in HOST_COLUMNS:
        return value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list) and name in labels:
        with suppress(ValueError):  # lists of several lengths stay lists, for a task of its own
            value = np.asarray(value)
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    return torch.as_tensor(value) if numbers else value
