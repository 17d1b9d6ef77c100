"""Annotations on a fraction of the rows, chosen once and fixed for the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import datasets


def annotated_indices(rows: int, fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Choose which rows keep their annotation: ``int(fraction * rows)`` of them, without replacement.

    The rule of arXiv 2303.11932's code, legacy NumPy generator included, so that its subsets can be reproduced.

    Args:
        rows: Number of rows.
        fraction: Share in [0, 1].
        seed: Seed of the generator.

    Returns:
        The chosen rows in the order drawn.

    Raises:
        ValueError: ``fraction`` outside [0, 1], or so small that no row is chosen: only 0 takes none; or a ``seed`` that the
            generator does not take.
    """
    if not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
        raise ValueError(f"fraction={fraction!r} is outside [0, 1]; 0.1 annotates every tenth row.")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r} is no whole number from 0 to 2**32 - 1, which NumPy's generator takes.")
    if fraction and int(fraction * rows) < 1:
        raise ValueError(f"fraction={fraction} of {rows} rows annotates none; give a larger fraction, or 0 for none.")
    generator = np.random.RandomState(seed)
    return generator.choice(rows, int(fraction * rows), replace=False).astype(np.int64)


def with_annotated_fraction(dataset: datasets.Dataset, fraction: float, seed: int) -> datasets.Dataset:
    """Add the column ``annotated``, True on a random fraction of the rows; boxes and masks stay in the data.

    Args:
        dataset: A map-style dataset.
        fraction: Share in [0, 1].
        seed: Seed of the choice.

    Returns:
        The dataset with the column; an earlier column ``annotated`` is replaced.

    Raises:
        ValueError: Several splits or a stream instead of a dataset, or a ``fraction`` or ``seed`` as for ``annotated_indices``.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "add_column")):
        raise ValueError(
            f"{type(dataset).__name__} has no rows that could be counted and marked; give one datasets.Dataset, as "
            "splits['train']."
        )
    flags = np.zeros(len(dataset), bool)
    flags[annotated_indices(len(dataset), fraction, seed)] = True
    if "annotated" in dataset.column_names:
        dataset = dataset.remove_columns("annotated")
    return dataset.add_column("annotated", flags.tolist())
