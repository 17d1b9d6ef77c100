"""The rows that guided a model as a card tells them: name, split, size, the share annotated, and what importance is made of."""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from hf_guidance.data.annotated import annotated_flags
from hf_guidance.data.collator import RowCollator

_OF_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)@", re.ASCII)
_WORDS = {"objects": "boxes", "segmentations": "masks"}  # what a column is called where people read of it


@dataclass(frozen=True)
class RowsFacts:
    """A data set.

    Attributes:
        name: As ``datasets`` calls it; None for rows that were made in memory.
        hub_id: Its id on the Hub; None where it was not loaded from there.
        config: Its configuration; None for the default one.
        split: None if unknown.
        rows: How many; None for a stream.
    """

    name: str | None
    hub_id: str | None
    config: str | None
    split: str | None
    rows: int | None

    @classmethod
    def of(cls, rows: Any) -> RowsFacts:
        """The facts of a data set of any kind."""
        info = getattr(rows, "info", None)
        config = getattr(info, "config_name", None)
        split = getattr(rows, "split", None)
        return cls(
            name=getattr(info, "dataset_name", None) or getattr(info, "builder_name", None),
            hub_id=_hub_id(info),
            config=None if config is None or str(config).startswith("default") else str(config),
            split=None if split is None else str(split),
            rows=len(rows) if isinstance(rows, Sized) else None,
        )


@dataclass(frozen=True)
class AnnotationFacts:
    """What guided.

    Attributes:
        rows: The training set.
        annotated: How many rows have importance that may be used; None where their columns do not tell.
        source: What importance is made of, as "boxes"; None where the collator does not say.
        in_training: Settings of the collator that hold in training only, as ``box_dilation=0.1``.
        control: Whether importance lay at the wrong places on purpose.
    """

    rows: RowsFacts
    annotated: int | None
    source: str | None
    in_training: tuple[str, ...]
    control: bool

    @classmethod
    def of(cls, rows: Any, collator: Any) -> AnnotationFacts:
        """The facts of a training set and its collator, or of that for the explained rows beside a user's own."""
        collator = getattr(collator, "explained", collator)
        known = collator if isinstance(collator, RowCollator) else None
        flags = None if rows is None or known is None else annotated_flags(rows, known.sources)
        return cls(
            RowsFacts.of(rows),
            None if flags is None else sum(flags),
            _source(rows, known),
            () if known is None else _in_training(known),
            getattr(collator, "control_seed", None) is not None,
        )

    @property
    def share(self) -> float | None:
        """The share of the rows that is annotated; None where the columns do not tell, or there is no row."""
        return self.annotated / self.rows.rows if self.annotated is not None and self.rows.rows else None


def _source(rows: Any, collator: RowCollator | None) -> str | None:
    given = getattr(collator, "source", None)
    if collator is None or (given is not None and given != "auto"):
        return given
    first = rows[0] if isinstance(rows, list) and rows else {}
    columns = getattr(rows, "column_names", None) or list(first)
    found = [_WORDS.get(name, name) for name in collator.sources if name in columns]
    return " or ".join(found) or None


def _in_training(collator: RowCollator) -> tuple[str, ...]:
    plain = collator.for_evaluation()
    if not is_dataclass(collator) or plain is collator:
        return ()
    names = [entry.name for entry in fields(collator) if entry.init]
    differing = [name for name in names if getattr(collator, name) != getattr(plain, name, None)]
    return tuple(f"{name}={_shown(getattr(collator, name))}" for name in differing)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, int | float | str) else type(value).__name__


def _hub_id(info: Any) -> str | None:
    """The repository that the files of a data set were read from, as ``datasets`` notes it."""
    files = getattr(info, "download_checksums", None) or {}
    found = {match.group(1) for match in map(_OF_HUB.match, map(str, files)) if match}
    return found.pop() if len(found) == 1 else None
