"""Cheaper double backward for the operations whose generic one is slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fast_double_backward() -> Iterator[None]:
    """Placeholder until measured."""
    yield
