"""Whether values fit the annotations of the dataclass that they are meant for."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hf_guidance.guidance.document import shown


def check_types(cls: type, values: Mapping[str, Any], path: str) -> None:
    """Refuse values of another type than the fields of a dataclass have.

    Args:
        cls: The dataclass.
        values: Field name to value.
        path: Place in the document, for errors.

    Raises:
        ValueError: A value does not fit; the message names the path, the value and the type.
    """
    hints = _hints(cls)
    for name, value in values.items():
        if name in hints and not fits(value, hints[name]):
            told = f"{name}={shown(value)} is not of type {_told(hints[name])}"
            raise ValueError(f"{path}: {cls.__name__} cannot be built: {told}.")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type. An int is a float; what cannot be judged, as ``TypeVar``, fits."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in inside)
    if origin is typing.Literal:
        return value in inside
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inside[:1] * len(value) if len(inside) == 2 and inside[1] is ... else inside
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if hint is None:
        return value is None
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return not isinstance(value, type) and all(hasattr(value, name) for name in _members(kind))
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # a user's class may name what only a type checker sees; then its fields are not judged
        return {}


def _members(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_") or name == "__call__"}


def _told(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
