"""Values of a guidance as they are written in Python, in one line, the same in every process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hf_guidance.guidance.serialization import default_of

_DEEPEST, _LONGEST = 5, 80


def expression(value: Any, depth: int = 0) -> str:
    """A dataclass, or what guidance.json holds of one, as Python writes it: without defaults, functions by their names.

    ``repr`` names every field, and functions by an address that differs from process to process.

    Args:
        value: A term, objective or attribution, or its plain form.
        depth: How deep the value lies in another; what lies deeper than 5 is cut.

    Example:
        >>> expression(IntegratedGradients(steps=8))
        'IntegratedGradients(steps=8)'
    """
    if depth < _DEEPEST:
        if is_dataclass(value) and not isinstance(value, type):
            given = ((f.name, getattr(value, f.name)) for f in fields(value) if f.init)
            differing = {f.name: default_of(f) for f in fields(value)}
            return _call(type(value).__name__, (one for one in given if one[1] != differing[one[0]]), depth)
        if isinstance(value, Mapping) and isinstance(value.get("type"), str):
            return _call(value["type"], ((name, one) for name, one in value.items() if name != "type"), depth)
    if isinstance(value, Mapping) and isinstance(value.get("function"), str):
        return str(value["function"])[:_LONGEST]
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else json.dumps(value, ensure_ascii=False, default=_kind)[:_LONGEST]


def method_text(method: Any) -> str:
    """An attribution in one line, with its layer, whether that is the default or not.

    Example:
        >>> method_text(GradCAM())
        "GradCAM() at 'final'"
    """
    return f"{expression(method)} at {method.layer!r}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _call(name: str, given: Iterable[tuple[str, Any]], depth: int) -> str:
    return f"{name}({', '.join(f'{field}={expression(value, depth + 1)}' for field, value in given)})"
