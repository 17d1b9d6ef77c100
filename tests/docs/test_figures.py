"""Figures that stand on several pages are the same on all of them, and the README stays short."""

from __future__ import annotations

import re

import pytest
from pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"


def rows(text: str) -> list[list[str]]:
    """Lines of tables with measured values, as cells."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if "±" in line and "|" in line
    ]


def test_the_readme_can_be_read_in_a_minute():
    assert len(README.splitlines()) <= 90
    assert README.index("docs/attributions.png") < README.index("## Install") < README.index("```python")


@pytest.mark.parametrize("row", rows(README), ids=lambda row: row[0])
def test_a_line_of_the_readme_is_that_of_a_page(row):
    found = rows((DOCS / "index.md").read_text(encoding="utf-8") + (DOCS / "reproduce.md").read_text(encoding="utf-8"))
    assert any(other[0] == row[0] and {*row[1:]} <= {*other[1:]} for other in found)


def test_costs_are_those_of_the_page_that_measured_them():
    page = (DOCS / "choose.md").read_text(encoding="utf-8")
    costs = page[page.index("## What a map costs") : page.index("## Which map?")]
    figures = {*re.findall(r"\d\.\d\d", costs)}
    assert len(figures) >= 15
    assert figures <= {*re.findall(r"\d\.\d\d", (DOCS / "speed.md").read_text(encoding="utf-8"))}
