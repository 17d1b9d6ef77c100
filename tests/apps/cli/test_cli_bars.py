"""What commands take long for is shown by the library's own bars, which follow the switches that people know."""

from __future__ import annotations


def test_explaining(bars, cli, checkpoint, photos, tmp_path):
    assert cli("explain", checkpoint, photos, "--output", tmp_path / "maps").code == 0
    assert "explain" in bars


def test_trying_layers(bars, cli, checkpoint):
    assert cli("models", checkpoint, "--layers").code == 0
    assert "trying layers" in bars
