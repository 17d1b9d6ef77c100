"""For `make docs`: sections "Example:" are shown as code, which griffe does for "Examples:" only, and columns as a list."""

from __future__ import annotations

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^( *)Example:$", re.MULTILINE)
_COLUMNS = re.compile(r"^( *)Columns:\n(?:\1 +\S.*\n)+", re.MULTILINE)


class ShowExamples(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """See griffe."""
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value)


def shown(docstring: str) -> str:
    """The docstring with headings and entries that griffe and markdown know."""
    listed = _COLUMNS.sub(
        lambda found: re.sub(rf"^({found[1]}    )(\w+): ", r"\1- `\2`: ", found[0], flags=re.M), docstring
    )
    return _HEADING.sub(r"\1Examples:", listed)
