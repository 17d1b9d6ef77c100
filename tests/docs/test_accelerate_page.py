"""Every line of the tables of docs/accelerate.md names a test that there is."""

from __future__ import annotations

import ast
import re

import pytest
from pages import ROOT

PAGE = ROOT / "docs" / "accelerate.md"
LINES = [
    line for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("| feature", "|---"))
]  # fmt: skip
NAMED = re.compile(r"`(test_\w+)`")
TESTS = [
    node.name
    for file in (ROOT / "tests" / "training").glob("test_*.py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef)
]


def test_the_tables_are_found():
    assert len(LINES) >= 30


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_a_line_names_its_test(line):
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == 4
    assert cells[0]
    assert cells[1]
    (named,) = NAMED.findall(cells[3])
    assert TESTS.count(named) == 1


def test_those_in_the_text_are_there_too():
    assert {*NAMED.findall(PAGE.read_text(encoding="utf-8"))} <= {*TESTS}
