"""Frozen dataclasses to plain dictionaries and back: the type's name, and the fields that differ from the defaults."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from hf_guidance import attributions, objectives, views
from hf_guidance.guidance.document import UPGRADE, cut, shown
from hf_guidance.guidance.field_types import check_types
from hf_guidance.guidance.work_limits import check_work

_MODULES = (objectives, attributions, views)
# What a class raises, beside ValueError, of values that it does not expect, such as a base class in the place of a method.
NOT_BUILT = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError, NotImplementedError)


def known_names() -> dict[str, Any]:
    """Every public class and function that a guidance.json may name."""
    return {name: getattr(module, name) for module in _MODULES for name in module.__all__}


def to_plain(value: Any, path: str = "guidance") -> Any:
    """Turn a value made of dataclasses, public functions, numbers, strings, None and tuples into JSON types.

    Raises:
        ValueError: A part of the value has no public name, or is refused by ``check_work``; the message names its path.
    """
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if known_names().get(name, type(value)) is not type(value):
            raise ValueError(
                f"{path}: the class {type(value).__module__}.{name} has the name of one of hf_guidance, which would be read "
                "back in its place; give the class another name."
            )
        check_work(type(value), {f.name: getattr(value, f.name) for f in fields(value)}, path)
        differing = [f for f in fields(value) if getattr(value, f.name) != default_of(f)]
        return {"type": name} | {f.name: to_plain(getattr(value, f.name), f"{path}.{f.name}") for f in differing}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [to_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    function = getattr(value, "__name__", None)
    if function is not None and known_names().get(function) is value:
        return {"function": function}
    raise ValueError(f"{path}: {value!r} cannot be written; use a public dataclass or function of hf_guidance.")


def from_plain(plain: Any, path: str = "guidance", extra: Mapping[str, Any] | None = None) -> Any:
    """Rebuild what ``to_plain`` wrote.

    Args:
        plain: JSON types.
        path: Place in the document, for errors.
        extra: Further names allowed, for user-defined dataclasses.

    Raises:
        ValueError: Unknown type, function or field, or a value that its class refuses; the message names path, type and
            field.
    """
    names = known_names() | dict(extra or {})
    if isinstance(plain, list):
        return tuple(from_plain(item, f"{path}[{i}]", extra) for i, item in enumerate(plain))
    if not isinstance(plain, Mapping):
        return plain
    if "function" in plain:
        return _function(plain, names, path)
    cls = _look_up(plain.get("type"), names, path)
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise ValueError(f"{path}: {plain['type']!r} is not a type; functions are written as {{'function': name}}.")
    allowed = [f.name for f in fields(cls) if f.init]
    values = {}
    for name, item in plain.items():
        if name == "type":
            continue
        if name not in allowed:
            raise ValueError(f"{path}: {cls.__name__} has no field {shown(name)}; it has {allowed}. {UPGRADE}")
        values[name] = from_plain(item, f"{path}.{name}", extra)
    check_types(cls, values, path)
    check_work(cls, values, path)
    try:
        return cls(**values)
    except NOT_BUILT as error:
        raise ValueError(
            f"{path}: {cls.__name__} cannot be built from {shown(values)}: {cut(str(error), 500)}"
        ) from error


def _function(plain: Mapping[str, Any], names: Mapping[str, Any], path: str) -> Any:
    function = _look_up(plain["function"], names, path)
    if len(plain) > 1 or not inspect.isfunction(function):
        raise ValueError(f"{path}: {shown(dict(plain))} is no function; one is written as {{'function': name}} alone.")
    return function


def _look_up(name: Any, names: Mapping[str, Any], path: str) -> Any:
    if isinstance(name, str) and name in names:
        return names[name]
    close = difflib.get_close_matches(str(name)[:100], list(names), n=3)
    hint = f" Did you mean {close}?" if close else ""
    raise ValueError(f"{path}: unknown name {shown(name)}; known are {sorted(names)}.{hint} {UPGRADE}")


def default_of(field: Field[Any]) -> Any:
    """The default of a field; MISSING where it has none."""
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING
