"""A batch as a step reads it, whichever of lists, arrays and tensors the collate function made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from numbers import Number
from typing import Any

import numpy as np
import torch

from hf_guidance.data.columns import HOST_COLUMNS
from hf_guidance.forward import ExplainedRows


def plain_batch(batch: Mapping[str, Any], labels: Collection[str], rows: ExplainedRows) -> dict[str, Any]:
    """Make tensors of arrays of numbers and of lists of labels, and lists of the columns that stay on the host.

    An array of the whole batch, such as one number per class, stays an array: a tensor has one entry per image. A
    tuple of numbers is a list of labels, too. Labels that are no numbers stay what they are, for a task of its own.

    Args:
        batch: The batch.
        labels: Names of its columns with labels.
        rows: Names the column of the images, and those of explained rows.
    """
    known, images = {*labels, *rows.columns}, np.shape(batch[rows.features])[:1] if rows.features in batch else None
    return {
        name: value
        if isinstance(value, np.ndarray) and name not in known and images not in (None, value.shape[:1])
        else _plain(name, value, labels)
        for name, value in batch.items()
    }


def _plain(name: str, value: Any, labels: Collection[str]) -> Any:
    if name in HOST_COLUMNS:
        return value.tolist() if hasattr(value, "tolist") else value
    numbers = value
    # A tuple of tensors may be the two labels that are mixed.
    several = isinstance(value, tuple) and not all(isinstance(entry, Number) for entry in value)
    if isinstance(value, list | tuple) and name in labels and not several:
        with suppress(ValueError, TypeError, RuntimeError):  # of several lengths, of bfloat16: for a task of its own
            numbers = np.asarray(value)
    if not (isinstance(numbers, np.ndarray) and numbers.dtype.kind in "biuf"):
        return value
    return torch.as_tensor(np.ascontiguousarray(numbers) if min(numbers.strides, default=0) < 0 else numbers)
