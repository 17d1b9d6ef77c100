"""The python blocks of the README and of docs/, and what they need to run.

A page is read as its reader would run it: its blocks in order, in one namespace. HTML comments directly above a block say what
a reader has beside the page:

    <!-- given: model processor np my_images/ -->   names that the block takes for granted; with a slash, folders
    <!-- not run: it downloads 6 GB -->             the block is shown only, with the reason
    <!-- run by: tests/test_of_it.py -->            another test runs the block, with what it needs

`tests/docs/page_names.py` has the names and folders. A name that is not there is one of hf_guidance or of its rooms. What a
page loads by the id of the Hub, and data sets that are large, have small stand-ins (`tests/docs/stand_ins.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^(?P<indent> *)```python[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--\s*(?P<key>given|not run|run by):\s*(?P<text>(?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of a page.

    Attributes:
        page: The file.
        line: Number of the line before its first one.
        code: Its text.
        given: Names and folders that it takes for granted.
        reason: Why it is not run; None where it is.
        elsewhere: The test that runs it in the place of the test of pages; None for that.
    """

    page: Path
    line: int
    code: str
    given: tuple[str, ...]
    reason: str | None
    elsewhere: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: str | Path) -> list[Block]:
    """The python blocks of a page, in order; a page is named from the root of the repository."""
    page = ROOT / page
    text, blocks, last = page.read_text(encoding="utf-8"), [], 0
    for match in _BLOCK.finditer(text):
        above, notes = text[last : match.start()], {}
        while note := _COMMENT.search(above):
            notes.setdefault(note["key"], note["text"])
            above = above[: note.start()]
        last, indent = match.end(), match["indent"]
        code = "".join(line.removeprefix(indent) for line in match["code"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("code"))
        blocks.append(
            Block(page, line, code, tuple(notes.get("given", "").split()), notes.get("not run"), notes.get("run by"))
        )
    return blocks


def block_with(page: str | Path, text: str) -> str:
    """The code of the one block of a page that holds a text."""
    (found,) = [block.code for block in blocks_of(page) if text in block.code]
    return found
