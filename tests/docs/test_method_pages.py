"""Every exported objective and attribution has its page and its place in the navigation; no page of docs/ names them all."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import method_pages
from method_pages import ROOMS, formula_of, index_of, linked, methods, on_config, page_of, page_uri, sections

METHODS = [pytest.param(room, cls, id=cls.__name__) for room in ROOMS for cls in methods(room)]


@pytest.mark.parametrize(("room", "cls"), METHODS)
def test_a_page_has_the_equation_the_columns_and_the_example(room, cls):
    page = page_of(room, cls)
    assert page.startswith(f"# {cls.__name__}\n")
    assert formula_of(cls).split("\n")[0] in page
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    wanted = ["When to use", "Example", "Arguments", "Columns", "Reference"]
    assert [heading for heading in headings if heading in wanted] == wanted
    assert f"```pycon\n{sections(cls)['Example']}\n```" in page
    assert f"from hf_guidance.{room} import {cls.__name__}\n" in page
    assert "``" not in page.replace("```", "")


def test_arguments_of_bases_are_told_too():
    (energy,) = [cls for cls in methods("objectives") if cls.__name__ == "Energy"]
    told = [line.split("`")[1] for line in page_of("objectives", energy).splitlines() if line.startswith("| `")]
    assert told[:4] == ["attribution", "normalization", "importance", "grid"]


@pytest.mark.parametrize("room", ROOMS)
def test_the_list_has_a_line_for_each(room):
    lines = [line for line in index_of(room).splitlines() if line.startswith("| [")]
    assert len(lines) == len(methods(room))
    assert all("arxiv.org/abs/" in line and "`" in line for line in lines)


def test_they_come_before_the_reference():
    config = SimpleNamespace(nav=[{"Start": "index.md"}, {"Reference": []}])
    assert [next(iter(entry)) for entry in on_config(config).nav] == ["Start", *ROOMS.values(), "Reference"]


def test_a_new_method_needs_no_page(monkeypatch):
    class Mine(methods("objectives")[0]):
        """``L = A``: all of it.

        Columns:
            importance: not read.

        When to use:
            Never.

        Reference:
            arXiv 1234.56789.
        """

    import hf_guidance.objectives as room

    monkeypatch.setattr(room, "Mine", Mine, raising=False)
    monkeypatch.setattr(room, "__all__", [*room.__all__, "Mine"])
    assert Mine in methods("objectives")
    assert "[Mine](mine.md) | `L = A`: all of it. | `importance` | [1234.56789]" in index_of("objectives")
    assert "| `importance` | not read. |" in page_of("objectives", Mine)


def test_names_in_text_become_links():
    text = "`Energy` and `Energy.loss`\n# `Energy`\n```\n`Energy`\n```\n[`Energy`](x.md) `GradCAM`"
    assert linked(text, "../") == (
        "[`Energy`](../methods/objectives/energy.md) and `Energy.loss`\n# `Energy`\n```\n`Energy`\n```\n"
        "[`Energy`](x.md) [`GradCAM`](../methods/attributions/gradcam.md)"
    )
    energy = next(cls for cls in methods("objectives") if cls.__name__ == "Energy")
    assert linked("`Energy`", "", page_uri("objectives", energy)) == "`Energy`"


def test_bars_in_a_cell():
    assert method_pages._cell("|a| `|b|`") == "\\|a\\| `|b|`"


def test_the_reference_lists_columns_and_shows_examples_as_code():
    from griffe_examples import shown

    text = "L.\n\nColumns:\n    labels: the\n        answers.\n    target: the class.\n\nExample:\n    >>> 1\n"
    assert shown(text) == (
        "L.\n\nColumns:\n    - `labels`: the\n        answers.\n    - `target`: the class.\n\nExamples:\n    >>> 1\n"
    )
