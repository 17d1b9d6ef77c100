"""The docstring of every compared method has its sections, and its example runs."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import sys

import pytest

from hf_guidance.training import baselines
from hf_guidance.training.baselines import Method, compared_settings

METHODS = [
    value for value in (getattr(baselines, name) for name in baselines.__all__)
    if inspect.isclass(value) and issubclass(value, Method) and value is not Method
]  # fmt: skip


@pytest.mark.parametrize("method", [*METHODS, compared_settings], ids=lambda each: each.__name__)
def test_the_example_runs(method):
    finder = doctest.DocTestFinder(recurse=False)
    for example in finder.find(method, method.__name__, module=sys.modules[method.__module__], globs={}):
        assert example.examples
        runner = doctest.DocTestRunner(verbose=False)
        assert runner.run(example).failed == 0


@pytest.mark.parametrize("method", METHODS, ids=lambda each: each.__name__)
def test_the_docstring_says_when_and_from_where(method):
    text = inspect.getdoc(method)
    assert all(f"\n{heading}:\n" in text for heading in ("When to use", "Reference", "Example"))
    assert dataclasses.is_dataclass(method)
    assert method.__dataclass_params__.frozen
    assert all(f"{field.name}:" in text for field in dataclasses.fields(method))
