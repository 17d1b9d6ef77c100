"""Checks of values inside a graph, which nobody can read there: they become its outputs and are judged behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

_OPEN: list[list[tuple[Tensor, str]]] = []


@contextmanager
def checks_deferred() -> Iterator[list[tuple[Tensor, str]]]:
    """Inside, ``defers_check`` takes checks.

    Yields:
        For each check a scalar, which is True where something is wrong, and the message of its error; filled inside.
    """
    found: list[tuple[Tensor, str]] = []
    _OPEN.append(found)
    try:
        yield found
    finally:
        _OPEN.pop()


def defers_check(wrong: Tensor, message: str) -> bool:
    """Leave a check for later, if somebody collects them.

    Args:
        wrong: True wherever a value is wrong, of any shape.
        message: What the error says.

    Returns:
        Whether the check was taken; else the caller judges now.
    """
    if not _OPEN:
        return False
    _OPEN[-1].append((wrong.any(), message))
    return True
