"""A guided step at the input of a model of each family: gradients of weights are those of plain autograd, in float64."""

from __future__ import annotations

import pytest
import timm
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
BATCH_NORM = ["ResNetForImageClassification", "PPLCNetForImageClassification", "SwiftFormerForImageClassification"]
# BatchNorm whose gradient comes in the layout of tokens.
XCIT = timm_models.candidate("xcit_nano_12_p16_224", depth=2, embed_dim=32, num_heads=2)
BEFORE_ATTENTION = [XCIT, *(timm_models.candidate(name) for name in timm.list_models("iformer_t"))]


@pytest.mark.parametrize("name", [name for name in CORE if name in NAMED])
def test_a_model_of_the_core_agrees(name):
    assert disagreement(NAMED[name]) < CLOSE


@pytest.mark.parametrize("name", [name for name in BATCH_NORM if name in NAMED])
def test_it_agrees_in_train_mode(name):
    assert disagreement(NAMED[name], images=3, training=True) < CLOSE


@pytest.mark.parametrize("candidate", BEFORE_ATTENTION, ids=lambda candidate: candidate.name)
def test_one_image_agrees_too(candidate):
    assert disagreement(candidate, images=1) < CLOSE


def test_a_second_derivative_that_is_missing_is_found(monkeypatch):
    right = Forward.gradient
    monkeypatch.setattr(Forward, "gradient", lambda self, *given, **how: right(self, *given, **how).detach())
    assert disagreement(NAMED["test_convnext"]) > 1e-2


def test_a_second_derivative_that_is_wrong_is_found(monkeypatch):
    from hf_guidance.second_order import gelu

    monkeypatch.setattr(gelu, "curvature", lambda x: torch.zeros_like(x))
    assert disagreement(NAMED["ViTForImageClassification"]) > 1e-3


def test_a_gradient_in_another_layout_is_found(monkeypatch):
    from hf_guidance.second_order import batch_norm

    monkeypatch.setattr(batch_norm, "in_one_layout", lambda dy, x: dy)
    assert disagreement(XCIT, images=1) > 1e-3
