"""What the benchmark of explaining compares is the same: maps of explain and of captum."""

import pytest
from explain import METHODS, BothWays, difference


@pytest.mark.parametrize("method", METHODS)
def test_equal_maps(method):
    assert difference("resnet-18", 32, "cpu", method) < 1e-8


def test_different_maps_are_refused(monkeypatch):
    monkeypatch.setattr(BothWays, "captum", lambda self, method: -self.ours(method))
    with pytest.raises(AssertionError, match="maps differ by 2"):
        difference("resnet-18", 32, "cpu", "GradCAM")
