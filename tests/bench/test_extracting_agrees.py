"""What the benchmark of saved maps compares is the same: maps of extract_maps and of the released scheme."""

import pytest
from extract_maps import Ways, difference


@pytest.mark.parametrize("name", ["resnet-18", "convnext-atto"])
def test_equal_maps(tmp_path, name):
    assert difference(Ways(name, 4, 64, 2, 0, "cpu", tmp_path)) < 1e-4


def test_different_maps_are_refused(tmp_path, monkeypatch):
    ways = Ways("resnet-18", 2, 64, 2, 0, "cpu", tmp_path)
    doubled = [[[2 * cell for cell in line] for line in one] for one in ways.released()]
    monkeypatch.setattr(Ways, "released", lambda self: doubled)
    with pytest.raises(AssertionError, match=r"maps differ by 5\.0e-01"):
        difference(ways)
