"""What the benchmark compares is the same: maps and losses of the library and of one autograd call an image."""

import contextlib

import naive_guidance
import pytest
from naive_guidance import MODELS, Setting


@pytest.mark.parametrize("name", MODELS)
def test_equal_maps_and_losses(name):
    setting = Setting(name, batch=2, size=64, device="cpu")
    assert [setting.agree(layer) for layer in ("final", "mid2", "input")] == [(2, 2), (8, 8), (64, 64)]


def test_different_maps_are_refused(monkeypatch):
    setting = Setting("bcos", batch=2, size=32, device="cpu")
    monkeypatch.setattr(naive_guidance, "fixed_dynamic_weights", contextlib.nullcontext)
    with pytest.raises(AssertionError, match="not close"):
        setting.agree("mid2")
