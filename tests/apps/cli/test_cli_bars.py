"""What commands take long for is shown by the library's own bars, which follow the switches that people know."""

from __future__ import annotations

import pytest

from hf_guidance.common import progress


@pytest.fixture
def bars(monkeypatch):
    """The bars that were asked for, by what they say."""
    said, made = [], progress._bar

    def noted(items, what, options):
        said.append(what)
        return made(items, what, options)

    monkeypatch.setattr(progress, "_bar", noted)
    return said


def test_explaining(bars, cli, checkpoint, photos, tmp_path):
    assert cli("explain", checkpoint, photos, "--output", tmp_path / "maps").code == 0
    assert "explain" in bars


def test_trying_layers(bars, cli, checkpoint):
    assert cli("models", checkpoint, "--layers").code == 0
    assert "trying layers" in bars
