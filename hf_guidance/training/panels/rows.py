"""The rows of a panel: the first annotated ones of the evaluation set, or those that are named."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from torch.utils.data import IterableDataset

from hf_guidance.data.annotated import can_be_judged, filled_rows
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE

_LOOK = 2000  # rows that are collated in search of annotated ones, before a set counts as having none
_FIX = "give AttributionPanel(rows=[...]), indices of the evaluation set or the rows themselves"


@dataclass(frozen=True)
class PanelRows:
    """Rows and where they are from.

    Attributes:
        origin: "eval_dataset", "train_dataset", "eval_dataset[name]", or "rows" for rows that were given themselves.
        indices: Their places in it.
        rows: The rows.
        collate: Makes a batch of them, as for evaluation.
    """

    origin: str
    indices: tuple[int, ...]
    rows: tuple[Mapping[str, Any], ...]
    collate: Any

    def batch(self) -> dict[str, Any]:
        """The rows as one batch."""
        return dict(self.collate(list(self.rows)))


def panel_rows(trainer: Any, given: Any, count: int) -> PanelRows:
    """Choose the rows of a panel.

    Args:
        trainer: The GuidedTrainer.
        given: None for the first annotated rows; or indices of the evaluation set (of the training set where there is none);
            or rows themselves, a list of dicts or a data set.
        count: How many rows are chosen where none are given.

    Returns:
        The rows; fewer than ``count`` where the set has fewer that are annotated.

    Raises:
        ValueError: No set has an annotated row, an index is outside of the set, or ``given`` is something else.
    """
    sets = {name: rows for name, rows in _sets(trainer).items() if _can_be_indexed(rows)}
    if given is None:
        for name, rows in sets.items():
            plain, collate = _readable(trainer, rows)
            if indices := list(itertools.islice(_annotated(plain, collate), count)):
                return PanelRows(name, tuple(indices), tuple(plain[index] for index in indices), collate)
        raise ValueError(f"AttributionPanel found no annotated row in {list(sets) or 'a set with a length'}; {_FIX}.")
    given = _plain(given)
    if isinstance(given, str | Mapping) or not _can_be_indexed(given):
        raise ValueError(f"rows={given!r} cannot be drawn; {_FIX}.")
    if isinstance(given, list) and any(isinstance(entry, bool | float) for entry in given):
        raise ValueError(f"rows={given[:8]}... are no indices but truth values or fractions; {_FIX}.")
    if not (isinstance(given, Sequence) and all(isinstance(entry, int) for entry in given)):
        return _own_rows(trainer, given)
    if not sets:
        raise ValueError("rows are indices, but the trainer has no set with a length; give the rows themselves.")
    name, rows = next(iter(sets.items()))
    if wrong := [index for index in given if not 0 <= index < len(rows)]:
        raise ValueError(f"rows={wrong} are no rows of {name}, which has {len(rows)}; give indices from 0.")
    plain, collate = _readable(trainer, rows)
    places = tuple(int(index) for index in given)
    return PanelRows(name, places, tuple(plain[index] for index in places), collate)


def _plain(given: Any) -> Any:
    """Indices in an array or a tensor, or a list of such numbers, as a list of Python's; all else as it is."""
    if hasattr(given, "tolist"):
        return given.tolist()
    if isinstance(given, list | tuple):
        return [entry.item() if getattr(entry, "ndim", None) == 0 else entry for entry in given]
    return given


def _own_rows(trainer: Any, given: Any) -> PanelRows:
    plain, collate = _readable(trainer, given)
    rows = tuple(plain[index] for index in range(len(given)))
    if odd := [row for row in rows if not isinstance(row, Mapping)]:
        kind = type(odd[0]).__name__
        raise ValueError(f"rows holds {odd[0]!r}, a {kind}, which is neither an index nor a row; {_FIX}.")
    return PanelRows("rows", tuple(range(len(rows))), rows, collate)


def _sets(trainer: Any) -> dict[str, Any]:
    held_out = trainer.eval_dataset
    named = (
        {f"eval_dataset[{name}]": rows for name, rows in held_out.items()}
        if isinstance(held_out, dict)
        else {"eval_dataset": held_out}
    )
    return named | {"train_dataset": trainer.train_dataset}


def _can_be_indexed(rows: Any) -> bool:
    stream = isinstance(rows, IterableDataset) or not (hasattr(rows, "__getitem__") and hasattr(rows, "__len__"))
    return not stream and len(rows) > 0


def _readable(trainer: Any, rows: Any) -> tuple[Any, Any]:
    """A set without the columns that the trainer drops, and the collator of evaluation, which drops them of other rows."""
    collator = trainer.plain_collator_for_evaluation()
    if isinstance(rows, datasets.Dataset):
        return trainer._remove_unused_columns(rows, description="evaluation"), collator
    return rows, trainer._get_collator_with_removed_columns(collator, description="evaluation")


def _annotated(rows: Any, collate: Any) -> Iterator[int]:
    """The rows that the collator calls annotated, in order; rows whose columns of importance are empty are not read."""
    sources = [name for name in getattr(collate, "sources", ()) if name in (getattr(rows, "column_names", None) or ())]
    judged = isinstance(collate, RowCollator) and can_be_judged(rows) and bool(sources)
    candidates = (i for i, full in enumerate(filled_rows(rows, sources)) if full) if judged else range(len(rows))
    for index in itertools.islice(candidates, _LOOK):
        batch = collate([rows[index]])
        flags: Sequence[Any] = batch.get(ANNOTATED, [IMPORTANCE in batch])
        if any(flags):
            yield index
