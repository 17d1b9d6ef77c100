"""The batch columns that terms read as human importance: values of the fields ``importance`` and ``column`` in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.guidance.guidance import Guidance
from hf_guidance.objectives import AnswerLoss

_FIELDS = ("importance", "column")


def importance_columns(guidance: Guidance) -> frozenset[str]:
    """The columns that objectives, views and Replace functions of a guidance read as importance."""
    return frozenset(column for term in guidance.values() for column in _columns(term))


def with_importance(guidance: Guidance, column: str) -> Guidance:
    """The same terms, reading ``column`` wherever they read the column "importance"."""
    return Guidance({name: _moved(term, column) for name, term in guidance.items()})


def _columns(value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for item in value:
            yield from _columns(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value) if not _reads_nothing(value) else ():
            own = getattr(value, entry.name)
            if entry.name in _FIELDS and isinstance(own, str):
                yield own
            else:
                yield from _columns(own)
    elif isinstance(getattr(value, "column", None), str):
        yield value.column  # of a Replace function


def _moved(value: Any, column: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(item, column) for item in value)
    if not is_dataclass(value) or isinstance(value, type) or _reads_nothing(value):
        return value
    changed = {}
    for entry in fields(value):
        old = getattr(value, entry.name)
        reads = entry.name in _FIELDS and old == IMPORTANCE
        changed[entry.name] = column if reads else _moved(old, column)
    return replace(value, **changed)


def _reads_nothing(value: Any) -> bool:
    # Without a threshold, AnswerLoss names a column but does not read it.
    return isinstance(value, AnswerLoss) and value.threshold is None
