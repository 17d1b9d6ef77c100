"""Lists of what the library has, for ``hf-guidance models``: each name with the line that says when to use it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from hf_guidance import attributions, objectives
from hf_guidance.apps.cli.output import columns, wrapped
from hf_guidance.attributions import Attribution
from hf_guidance.families import ARCHITECTURES
from hf_guidance.objectives import AttributionObjective, Objective

_HEADS = {
    "families": "Model types whose layers are written down; ask of others by `hf-guidance models NAME`:",
    "attributions": "Attributions, and when to use them:",
    "objectives": "Objectives, and when to use them:",
}
_TAILS = {
    "families": "The layers of every other image classifier of transformers and timm are found by its structure; "
    "docs/models.md lists which work.",
    "attributions": "Options and references: help(hf_guidance.attributions.GradCAM) in Python.",
    "objectives": "Options and references: help(hf_guidance.objectives.Energy) in Python.",
}


def families() -> dict[str, str]:
    """Model type to what its family knows."""
    return {name: _first(made.__doc__ or "") for made in ARCHITECTURES for name in made.MODEL_TYPES}


def text(kind: str, listed: Mapping[str, str]) -> str:
    """A list for people.

    Args:
        kind: One of LISTS.
        listed: Name to its line.

    Returns:
        A line per name.
    """
    return "\n".join([wrapped(_HEADS[kind]), columns(listed), wrapped(_TAILS[kind])])


def _methods(room: Any, base: type, *abstract: type) -> dict[str, str]:
    found = ((name, getattr(room, name)) for name in room.__all__)
    kinds = {n: k for n, k in found if inspect.isclass(k) and issubclass(k, base) and k not in (base, *abstract)}
    return {name: _first(_use(kind)) for name, kind in sorted(kinds.items())}


def _use(kind: type) -> str:
    """The section "When to use" of a docstring."""
    found = re.search(r"When to use:\n(.*?)(\n\n|$)", inspect.getdoc(kind) or "", re.DOTALL)
    return found[1] if found else (inspect.getdoc(kind) or "")


def _first(text: str) -> str:
    """The first sentence, in one line, without what stands in brackets."""
    line = re.sub(r"\s*\([^()]*\)", "", " ".join(text.replace("``", "").split()))
    return re.split(r"(?<=[^.])\.(?:\s|$)", line)[0]


LISTS: Mapping[str, Callable[[], dict[str, str]]] = {
    "families": families,
    "attributions": lambda: _methods(attributions, Attribution),
    "objectives": lambda: _methods(objectives, Objective, AttributionObjective),
}
