"""A guided step at the input of whole models: the gradient of the weights is that of finite differences, in float64."""

from __future__ import annotations

import pytest
import torch
from every_model import timm_models, transformers_models
from every_model.second_order import CLOSE, disagreement

from hf_guidance.forward import Forward

EVERYTHING = {c.key: c for c in [*transformers_models.candidates(), *timm_models.candidates()]}
NAMED = {c.name: c for c in EVERYTHING.values()}
# A family each: convolutions with BatchNorm, with LayerNorm, hard sigmoid and hard swish, tokens, windows, both together.
CORE = [
    "ResNetForImageClassification", "ViTForImageClassification", "PPLCNetForImageClassification",
    "MobileNetV2ForImageClassification", "SwiftFormerForImageClassification", "test_convnext", "test_vit", "test_efficientnet",
    "test_nfnet", "iformer_t",
]  # fmt: skip
# Models that take no image of pixels, or a text beside it.
REFUSED = ("ImageGPTForImageClassification", "ShieldGemma2ForImageClassification", "Siglip2ForImageClassification")


@pytest.mark.parametrize("name", [name for name in CORE if name in NAMED])
def test_a_model_of_the_core_agrees(name):
    assert disagreement(NAMED[name]) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("key", EVERYTHING)
def test_every_model_agrees_or_is_refused(key):
    try:
        found = disagreement(EVERYTHING[key])
    except ImportError as error:  # of a package that a model needs
        pytest.skip(str(error).strip().splitlines()[0])
    except ValueError:
        if key.split("/")[-1] not in REFUSED:
            raise
        return
    assert found < CLOSE


def test_a_second_derivative_that_is_missing_is_found(monkeypatch):
    right = Forward.gradient
    monkeypatch.setattr(Forward, "gradient", lambda self, *given, **how: right(self, *given, **how).detach())
    assert disagreement(NAMED["test_convnext"]) > 1e-2


def test_a_second_derivative_that_is_wrong_is_found(monkeypatch):
    from hf_guidance.second_order import gelu

    monkeypatch.setattr(gelu, "curvature", lambda x: torch.zeros_like(x))
    assert disagreement(NAMED["ViTForImageClassification"]) > 1e-3
