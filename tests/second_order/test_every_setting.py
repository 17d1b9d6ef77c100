"""A guided step of each architecture in each setting moves the weights as plain autograd does in float64 on one process."""

from __future__ import annotations

import re

import pytest
from every_setting.architectures import ARCHITECTURES
from every_setting.settings import EAGER, SETTINGS, error, moved
from every_setting.table import Cells, reason

from hf_guidance.forward import Forward

# Of the others each cell is a slow test: a small trainer for each adds up.
CORE = {"convnext", "vit", "timm_vit", "updn"}
PAIRS = [
    pytest.param(a, s, id=f"{a.name}-{s.name}", marks=() if a.builder in CORE else pytest.mark.slow)
    for a in ARCHITECTURES
    for s in SETTINGS
    if a.attends or s.name != "fused"
]


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return Cells([a for a in ARCHITECTURES if a.builder in CORE], tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return Cells([a for a in ARCHITECTURES if a.builder not in CORE], tmp_path_factory.mktemp("others"))


@pytest.mark.parametrize(("architecture", "setting"), PAIRS)
def test_a_step_in_every_setting(architecture, setting, core, others):
    found = (core if architecture.builder in CORE else others)(architecture, setting)
    known = reason(architecture, setting)
    if known is not None:
        assert isinstance(found, str)
        assert re.search(known[0], found, re.DOTALL), found
    else:
        assert isinstance(found, float), found
        assert found < setting.bound


def test_a_second_derivative_that_is_half_missing_is_seen(tmp_path, monkeypatch):
    (vit,) = (a for a in ARCHITECTURES if a.builder == "vit")
    reference, right = moved(vit, EAGER, tmp_path), Forward.gradient

    def half(self, *given, **how):
        gradient = right(self, *given, **how)
        return (gradient + gradient.detach()) / 2

    monkeypatch.setattr(Forward, "gradient", half)
    assert error(moved(vit, EAGER, tmp_path), reference) > 1e-2


def test_bf16_is_no_further_than_autograd_takes_it(tmp_path):
    (vit,) = (a for a in ARCHITECTURES if a.builder == "vit")
    (bf16,) = (setting for setting in SETTINGS if setting.name == "bf16")
    reference = moved(vit, EAGER, tmp_path, plain=True)
    ours, autograd = (error(moved(vit, bf16, tmp_path, plain=plain), reference) for plain in (False, True))
    assert ours < 2 * autograd
