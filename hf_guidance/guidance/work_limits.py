"""How much work a guidance may ask for: larger numbers, as a stranger's guidance.json may hold, would fill the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 10_000  # steps, samples, copies, answers
_NO_WORK = ("draw", "rank")  # a seed, and a place


def check_work(cls: type, values: Mapping[str, Any], path: str) -> None:
    """Refuse whole numbers that stand for more work than any training takes.

    Args:
        cls: A class of this library; those of a user are not judged.
        values: Field name to value.
        path: Place in the document, for errors.

    Raises:
        ValueError: One is above 10,000.
    """
    if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
        return
    for name, value in values.items():
        if name not in _NO_WORK and isinstance(value, int) and value > MOST:
            raise ValueError(f"{path}: {cls.__name__}.{name} is {value:,}; give at most {MOST:,}.")
