"""Annotated rows: keep a seeded fraction of them, and check, without decoding images, that a dataset has any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_guidance.common.progress import progress
from hf_guidance.data.columns import ANNOTATED


def annotated_indices(rows: int, fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Choose which rows keep their annotation: ``int(fraction * rows)`` of them, without replacement.

    This is the rule of the code of arXiv 2303.11932, legacy NumPy generator included, so that its subsets can be
    reproduced.

    Args:
        rows: Number of rows.
        fraction: Share in [0, 1].
        seed: Seed of the generator.

    Returns:
        The chosen rows in the order drawn.

    Raises:
        ValueError: ``fraction`` is outside [0, 1], or above 0 but so small that no row is chosen; or ``seed`` is not a whole
            number from 0 to 2**32 - 1.
    """
    if not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
        raise ValueError(f"fraction={fraction!r} is outside [0, 1]; 0.1 annotates every tenth row.")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r} is not a whole number from 0 to 2**32 - 1, as NumPy's generator needs.")
    if fraction and int(fraction * rows) < 1:
        raise ValueError(f"fraction={fraction} of {rows} rows annotates none; give a larger fraction, or 0 for none.")
    generator = np.random.RandomState(seed)
    return generator.choice(rows, int(fraction * rows), replace=False).astype(np.int64)


def with_annotated_fraction(
    dataset: datasets.Dataset, fraction: float, seed: int, *, by: str | None = None
) -> datasets.Dataset:
    """Add the column ``annotated``, True on a random fraction of the rows; boxes and masks stay in the data.

    Args:
        dataset: A map-style dataset.
        fraction: Share in [0, 1].
        seed: Seed of the choice.
        by: Column of an id, as "image_id": a fraction of its values is chosen instead, and all of their rows, as several
            captions of one image.

    Returns:
        The dataset with the column; an earlier column ``annotated`` is replaced.

    Raises:
        ValueError: ``dataset`` is a dict of splits or a stream, or has no column ``by``; or ``annotated_indices`` refuses
            ``fraction`` or ``seed``.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "add_column")):
        raise ValueError(
            f"{type(dataset).__name__} has no rows that could be counted and marked; give one datasets.Dataset, as "
            "splits['train']."
        )
    if by is not None and by not in dataset.column_names:
        raise ValueError(f"by={by!r} is no column; there are {dataset.column_names}.")
    group = (
        np.arange(len(dataset)) if by is None else np.unique(dataset.with_format(None)[by][:], return_inverse=True)[1]
    )
    chosen = np.zeros(int(group.max(initial=-1)) + 1, bool)
    chosen[annotated_indices(len(chosen), fraction, seed)] = True
    flags = chosen[group]
    if ANNOTATED in dataset.column_names:
        dataset = dataset.remove_columns(ANNOTATED)
    return dataset.add_column(ANNOTATED, flags.tolist())


def can_be_judged(dataset: Any) -> bool:
    """Whether the columns tell which rows are annotated: map-style, no transform that changes rows, no ``pixel_values``."""
    plain = isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"  # with_transform
    return plain and "pixel_values" not in dataset.column_names


def check_annotated(dataset: Any, sources: Sequence[str]) -> None:
    """Raise if the columns of a dataset show that it has no annotated row; accept it where `can_be_judged` is False.

    Args:
        dataset: The training set.
        sources: Columns that hold importance, such as "objects" or "mask"; see ``RowCollator.sources``.

    Raises:
        ValueError: There is no column with importance; or all such columns are empty in every row; or ``annotated`` is False in
            every row that has importance.
    """
    if not can_be_judged(dataset):
        return
    columns = [name for name in sources if name in dataset.column_names]
    if not columns:
        raise ValueError(
            f"the training set has none of the columns {list(sources)}, so nothing can guide; it has "
            f"{dataset.column_names}. Build it with hf_guidance.dataset_builder, or add a column "
            f"{' or '.join(map(repr, sources))}."
        )
    flags = dataset.with_format(None)[ANNOTATED] if ANNOTATED in dataset.column_names else repeat(None)
    held = False
    for filled, flag in zip(filled_rows(dataset, columns), flags, strict=False):
        if filled and (flag is None or flag):  # as in the collator, a row without a flag counts
            return
        held = held or filled
    if not held:
        raise ValueError(
            f"columns {columns} of the training set are empty in every row; fill one of them in at least one row."
        )
    raise ValueError(
        f"column 'annotated' of the training set is False in every row that has something in {columns}; annotate at least one "
        "of them."
    )


def annotated_flags(dataset: Any, sources: Sequence[str]) -> list[bool] | None:
    """Which rows have importance that may be used, by their columns; no image is decoded.

    Args:
        dataset: A data set, or a list of rows.
        sources: Columns that hold importance; see ``RowCollator.sources``.

    Returns:
        One entry per row; None where the columns do not tell: streams, rows that are made as they are read.

    Example:
        >>> sum(annotated_flags(train, ("objects",))) / len(train)
        0.1
    """
    if can_be_judged(dataset):
        columns = [name for name in sources if name in dataset.column_names]
        if not columns:
            return [False] * len(dataset)
        used = dataset.with_format(None)[ANNOTATED] if ANNOTATED in dataset.column_names else repeat(None)
        filled = progress(filled_rows(dataset, columns), "counting annotated rows", total=len(dataset))
        return [full and (flag is None or bool(flag)) for full, flag in zip(filled, used, strict=False)]
    if isinstance(dataset, list) and all(isinstance(row, Mapping) and "pixel_values" not in row for row in dataset):
        return [
            row.get(ANNOTATED) in (None, True) and any(_holds(row.get(name)) for name in sources) for row in dataset
        ]
    return None


def filled_rows(dataset: datasets.Dataset, columns: Sequence[str]) -> Iterator[bool]:
    """Yield for each row whether any of the columns holds something; no image is decoded.

    Args:
        dataset: A dataset with these columns.
        columns: Columns that hold importance, such as "objects" or "mask".
    """
    for batch in dataset.with_format("arrow").select_columns(list(columns)).iter(batch_size=1000):
        filled = [_filled(batch.column(name), name) for name in columns]
        yield from (any(row) for row in zip(*filled, strict=True))


def _filled(column: Any, name: str) -> list[bool]:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):  # far faster than making lists of dicts
        longer: list[bool] = pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0).to_pylist()
        return longer
    if name == "objects":
        return [_holds(objects) for objects in column.to_pylist()]
    valid: list[bool] = column.is_valid().to_pylist()
    return valid


def _holds(value: Any) -> bool:
    """Whether what stands in a column of importance holds anything: objects may be a dict of lists, or a list."""
    if isinstance(value, dict) and all(isinstance(each, list | tuple) for each in value.values()):
        return any(value.values())
    return bool(value) if isinstance(value, list | tuple) else value is not None
