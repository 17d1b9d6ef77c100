"""Every python block of the README and of docs/ runs; tests/pages.py says what a page may take for granted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import page_names
import pytest
from pages import PAGES, ROOT, Block, blocks_of
from stand_ins import stand_ins

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
MOST_NOT_RUN = 3


class Page:
    """The namespace and folder of one page; its blocks are run in order, each once."""

    def __init__(self, blocks: list[Block], folder: Path) -> None:
        self._blocks, self._folder, self._done = blocks, folder, 0
        self._names: dict[str, Any] = {"__name__": f"page_{blocks[0].page.stem.replace('-', '_')}"}
        self._made: dict[str, Any] = {}

    def run(self, block: Block) -> None:
        """Run the blocks up to this one that did not run yet."""
        last = self._blocks.index(block)
        while self._done <= last:
            current = self._blocks[self._done]
            self._done += 1
            if current.reason is None and current.elsewhere is None:
                with stand_ins(self._folder):
                    self._names |= page_names.provide(current.given, self._made)
                    # The empty lines make tracebacks name the line of the page.
                    text = "\n" * current.line + current.code
                    exec(compile(text, str(current.page), "exec", dont_inherit=True), self._names)


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    pages: dict[Path, Page] = {}

    def page(block):
        if block.page not in pages:
            pages[block.page] = Page(blocks_of(block.page), tmp_path_factory.mktemp(block.page.stem))
        return pages[block.page]

    return page


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block(block, page_of):
    if block.elsewhere is not None:
        assert block.page.name in (ROOT / block.elsewhere).read_text(), f"{block.elsewhere} does not name the page"
        return
    if block.reason is not None:
        pytest.skip(block.reason)
    page_of(block).run(block)


def test_blocks_are_found_and_few_are_not_run():
    assert {block.page.name for block in BLOCKS} >= {"README.md", "from-trainer.md", "layers.md"}
    left_out = [block for block in BLOCKS if block.reason is not None]
    assert all(len(block.reason) > 10 for block in left_out), "say why"
    assert len(left_out) <= MOST_NOT_RUN


def test_notes_of_a_page_are_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- given: far -->\ntext\n\n<!-- given: model np=torch\n  my_images/ -->\n```python\na = 1\n```\n"
        "- item\n\n  <!-- not run: it takes days -->\n  ```python\n  if a:\n      b = 2\n  ```\n```python\nc = 3\n```\n"
    )
    first, second, third = blocks_of(page)
    assert (first.given, first.reason, first.code, first.line) == (
        ("model", "np=torch", "my_images/"),
        None,
        "a = 1\n",
        6,
    )
    assert (second.given, second.reason, second.code) == ((), "it takes days", "if a:\n    b = 2\n")
    assert (third.given, third.reason) == ((), None)
