"""The example in the docstring of every objective and attribution runs as it is printed, from its first import on."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from method_pages import ROOMS, formula_of, methods, sections

METHODS = [pytest.param(cls, id=cls.__name__) for room in ROOMS for cls in methods(room)]


def test_all_are_found():
    assert len(METHODS) >= 28


@pytest.mark.parametrize("cls", METHODS)
def test_the_example_gives_what_it_says(cls):
    text = sections(cls)["Example"]
    example = doctest.DocTestParser().get_doctest(text, {}, cls.__name__, None, None)
    assert example.examples
    said = []
    torch.manual_seed(0)
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("cls", METHODS)
def test_the_example_shows_a_guidance(cls):
    assert "Guidance(" in sections(cls)["Example"]


@pytest.mark.parametrize("cls", METHODS)
def test_the_docstring_begins_with_the_equation(cls):
    assert formula_of(cls)
