"""For `make docs`: the names of the package as a table, below the text of reference/hf_guidance.md."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import hf_guidance

PAGE = "reference/hf_guidance.md"
_ROOMS = ("data", "models", "families", "forward", "guidance", "evaluation", "training", "apps")


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Called by mkdocs for every page."""
    return f"{markdown}\n\n{table()}" if page.file.src_uri == PAGE else markdown


def table() -> str:
    """One line for each name, with the first line of its docstring and a link to its room."""
    lines = [_line(name) for name in sorted(hf_guidance.__all__, key=str.lower)]
    return "\n".join(["| name | |", "|---|---|", *lines]) + "\n"


def _line(name: str) -> str:
    found = getattr(hf_guidance, name)
    told = (found.__doc__ or "").strip().split("\n")[0].rstrip(".").replace("|", "\\|")
    if found is getattr(hf_guidance, "recipes", None):
        return f"| [`{name}`](recipes.md) | {told} |"
    rooms = [room for room in _ROOMS if name in getattr(import_module(f"hf_guidance.{room}"), "__all__", ())]
    return f"| [`{name}`][hf_guidance.{rooms[0]}.{name}] | {told} |" if rooms else f"| `{name}` | {told} |"
