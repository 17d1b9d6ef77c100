"""Features of the cells of a grid over an image, which Pythia reads beside those of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

GRID_FEATURES = "grid_features"
"""Column of rows: (cells, dims) numbers, from left to right and row by row."""


def stacked_grids(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Tensor | None:
    """The grids of a batch, (rows, cells, dims) float32; None where no row has one.

    Args:
        rows: With or without the column ``grid_features``.
        names: Of each row, for errors.

    Raises:
        ValueError: Some rows have a grid and others do not, their shapes differ, or a grid is no finite array of two axes.
    """
    given = [row.get(GRID_FEATURES) for row in rows]
    if all(grid is None for grid in given):
        return None
    grids = [_checked(grid, name) for grid, name in zip(given, names, strict=True)]
    for grid, name in zip(grids, names, strict=True):
        if grid.shape != grids[0].shape:
            raise ValueError(
                f"{name} has {GRID_FEATURES} of shape {tuple(grid.shape)}, {names[0]} of shape {tuple(grids[0].shape)}; give "
                "all rows grids of one shape."
            )
    return torch.stack(grids)


def _checked(grid: Any, name: str) -> Tensor:
    if grid is None:
        raise ValueError(
            f"{name} has no {GRID_FEATURES}, and other rows of the batch have; give all rows a grid, or none."
        )
    try:
        array = np.asarray(grid, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {GRID_FEATURES} are no array of numbers ({error}); give (cells, dims).") from error
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        fault = ", empty or not finite" if array.ndim == 2 else ""
        raise ValueError(f"{name} has {GRID_FEATURES} of shape {array.shape}{fault}; give finite (cells, dims).")
    return torch.from_numpy(np.ascontiguousarray(array))
