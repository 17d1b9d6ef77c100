"""A guided step at the input of a model of each family: gradients of weights are those of finite differences, in float64."""

from __future__ import annotations

import pytest
import torch
from every_model import timm_models, transformers_models
from every_model.second_order import CLOSE, disagreement

from hf_guidance.forward import Forward

NAMED = {c.name: c for c in [*transformers_models.candidates(), *timm_models.candidates()]}
# A family each: convolutions with BatchNorm, with LayerNorm, hard sigmoid and hard swish, tokens, windows, both together.
CORE = [
    "ResNetForImageClassification", "ViTForImageClassification", "PPLCNetForImageClassification",
    "MobileNetV2ForImageClassification", "SwiftFormerForImageClassification", "test_convnext", "test_vit",
    "test_efficientnet", "test_nfnet",
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CORE if name in NAMED])
def test_a_model_of_the_core_agrees(name):
    assert disagreement(NAMED[name]) < CLOSE


def test_a_second_derivative_that_is_missing_is_found(monkeypatch):
    right = Forward.gradient
    monkeypatch.setattr(Forward, "gradient", lambda self, *given, **how: right(self, *given, **how).detach())
    assert disagreement(NAMED["test_convnext"]) > 1e-2


def test_a_second_derivative_that_is_wrong_is_found(monkeypatch):
    from hf_guidance.second_order import gelu

    monkeypatch.setattr(gelu, "curvature", lambda x: torch.zeros_like(x))
    assert disagreement(NAMED["ViTForImageClassification"]) > 1e-3
