"""Checks of option values, with error messages of one form."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any


def check_choice(name: str, value: Any, allowed: Collection[Any], owner: object = None) -> None:
    """Raise unless the value is one of those allowed.

    Args:
        name: Name of the option.
        value: The value given.
        allowed: The values allowed.
        owner: The object whose field it is; its class is named in the error.

    Raises:
        ValueError: ``value`` is not in ``allowed``; the message lists what is.

    Example:
        >>> check_choice("source", "boxes", ("auto", "boxes", "mask"))
    """
    if not any(value is choice or value == choice for choice in allowed):
        shown = f"{name}={value!r}" if owner is None else f"{type(owner).__name__}({name}={value!r})"
        raise ValueError(f"{shown} is unknown; choose one of {list(allowed)}.")


def check_count(name: str, value: Any, owner: object, least: int = 1, hint: str = "") -> None:
    """Raise unless the value is a whole number of at least ``least``.

    Args:
        name: Name of the field.
        value: The value given.
        owner: The object whose field it is; its class is named in the error.
        least: The smallest number allowed.
        hint: The reason, appended to the error message.

    Raises:
        ValueError: ``value`` is not a whole number, or is smaller than ``least``.
    """
    try:
        whole = not isinstance(value, bool) and operator.index(value) >= least  # of Python or NumPy
    except TypeError:
        whole = False
    if not whole:
        more = f" {hint}" if hint else ""
        raise ValueError(f"{type(owner).__name__}({name}={value!r}): give a whole number of at least {least}.{more}")
