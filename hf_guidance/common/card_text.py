"""Markdown of cards: names of any kind, quotes, pipes and line breaks included, that break neither a table nor a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

_SPECIAL = re.compile(r"([\\`*_\[\]~$#{}])")


def one_line(text: Any, limit: int = 200) -> str:
    """A text in one line, without control characters, cut at ``limit`` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def escaped(text: Any, limit: int = 2000) -> str:
    """A text as plain Markdown, in one line: it is shown as it is, in a sentence, a heading or a cell of a table."""
    line = _SPECIAL.sub(r"\\\1", one_line(text, limit))
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        line = line.replace(sign, name)
    return line


def code(text: Any, limit: int = 200) -> str:
    """A text as inline code, in one line.

    Example:
        >>> code("a"), code("it`s")
        ('`a`', '``it`s``')
    """
    line = one_line(text, limit) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def marked_up(text: str) -> str:
    """A paragraph of a docstring as Markdown: what stands between double backticks is code, the rest plain."""
    parts = re.split(r"``(.+?)``", " ".join(text.split()))
    return "".join(code(part, 2000) if index % 2 else _plain(part) for index, part in enumerate(parts))


def _plain(part: str) -> str:
    # one_line strips; the blanks around code must stay
    before, after = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
    return f"{before}{escaped(part)}{after}" if part.strip() else part


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        header: Names of the columns, as Markdown.
        lines: Cells, as Markdown in one line: made by ``escaped`` or ``code``, or numbers.
    """
    every = [header, ["---"] * len(header), *lines]
    # A pipe would end a cell, even one in code.
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in every)
