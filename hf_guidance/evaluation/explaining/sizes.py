"""Numbers of images and of classes that callers choose."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def check_counts(**counts: Any) -> None:
    """Raise for a number of images or of classes that is none; None chooses.

    Raises:
        ValueError: One is not a whole number of at least 1.
    """
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
            raise ValueError(f"{name}={value!r}; give a whole number of at least 1, or None.")
