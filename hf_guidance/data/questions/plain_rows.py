"""Rows that can be looked at before training, with some of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hf_guidance.data.annotated import can_be_judged


def plain_rows(rows: Any, wanted: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Rows with the wanted columns, those that they have; nothing of streams, and of rows that are made as they are read."""
    if isinstance(rows, list | tuple):
        yield from (row for row in rows if isinstance(row, Mapping))
    elif can_be_judged(rows) and (columns := [name for name in wanted if name in rows.column_names]):
        for batch in rows.with_format("arrow").select_columns(columns).iter(batch_size=1000):
            values = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            yield from (dict(zip(columns, each, strict=True)) for each in values)
