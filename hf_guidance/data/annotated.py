"""Which rows are annotated: a seeded fraction of them, and whether a dataset has any, without decoding an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt


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


def can_be_judged(dataset: Any) -> bool:
    """Whether the columns tell if rows are annotated: map-style, and no transform makes other rows of them."""
    plain = isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"  # with_transform
    return plain and "pixel_values" not in dataset.column_names


def check_annotated(dataset: Any, sources: Sequence[str]) -> None:
    """Raise if a dataset that can be judged cannot have a single annotated row.

    Args:
        dataset: The training set.
        sources: Columns that say where to look, as "objects" or "mask"; a collator knows its own.

    Raises:
        ValueError: No column with importance, or all of them empty in every row, or ``annotated`` is False in every row
            that has importance.
    """
    if not can_be_judged(dataset):
        return
    columns = [name for name in sources if name in dataset.column_names]
    if not columns:
        raise ValueError(
            f"the training set has none of the columns {list(sources)}, so nothing can guide; it has "
            f"{dataset.column_names}. Build it with hf_guidance.dataset_builder, or add a column 'objects' or 'mask'."
        )
    flags = dataset.with_format(None)["annotated"] if "annotated" in dataset.column_names else repeat(None)
    held = False
    for filled, flag in zip(filled_rows(dataset, columns), flags, strict=False):
        if filled and (flag is None or flag):  # as in the collator, a missing flag is no refusal
            return
        held = held or filled
    if not held:
        raise ValueError(f"columns {columns} of the training set are empty in every row; annotate at least one row.")
    raise ValueError(
        f"column 'annotated' of the training set is False in every row that has something in {columns}; annotate at least one "
        "of them."
    )


def filled_rows(dataset: datasets.Dataset, columns: Sequence[str]) -> Iterator[bool]:
    """Whether any of the columns holds something, row by row; no image is decoded.

    Args:
        dataset: With the columns.
        columns: Columns of importance, as "objects" or "mask".
    """
    for batch in dataset.with_format("arrow").select_columns(list(columns)).iter(batch_size=1000):
        filled = [_filled(batch.column(name), name) for name in columns]
        yield from (any(row) for row in zip(*filled, strict=True))


def _filled(column: Any, name: str) -> list[bool]:
    if name != "objects":
        valid: list[bool] = column.is_valid().to_pylist()
        return valid
    return [_holds_objects(objects) for objects in column.to_pylist()]


def _holds_objects(objects: Any) -> bool:
    return any(objects.values()) if isinstance(objects, dict) else bool(objects)
