"""Fixtures of the tests of fused and of compiled kernels."""

from __future__ import annotations

import pytest

from hf_guidance.second_order import compiling


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has compiled nothing."""
    state = compiling._State()
    monkeypatch.setattr(compiling, "_state", state)
    return state


@pytest.fixture
def formulas(fresh, monkeypatch):
    """Formulas run as they are, without a compiler; the list fills with the names of those that run."""
    ran = []

    def as_it_is(formula, like):
        return lambda *tensors: (ran.append(formula.name), formula.compute(*tensors))[1]

    monkeypatch.setattr(compiling, "_compile", as_it_is)
    return ran
