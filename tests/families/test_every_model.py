"""Every architecture of timm and transformers is read right or refused, and the judge that says so can fail."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from every_model import judge as judging
from every_model import timm_models, transformers_models
from every_model.judge import CRASHED, LAYERS, REFUSED, RIGHT, WRONG, judge
from every_model.location import disturbed, located, regions
from every_model.table import counts

from hf_guidance.forward import Forward

EVERYTHING = {c.key: c for c in [*transformers_models.candidates(), *timm_models.candidates()]}
NAMED = {c.name: c for c in EVERYTHING.values()}
# Small ones whose layouts differ: maps, tokens with and without class token or registers, channels last, windows.
CORE = [
    "ResNetForImageClassification", "ViTForImageClassification", "Dinov2WithRegistersForImageClassification",
    "Swinv2ForImageClassification", "SegformerForImageClassification", "test_convnext", "test_vit", "test_mambaout",
    "test_maxvit", "swin_tiny_patch4_window7_224", "sam2_hiera_tiny", "beit_base_patch16_224",
]  # fmt: skip
PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


@lru_cache
def record(key: str) -> dict:
    return judge(EVERYTHING[key])


def verdicts(found: dict) -> dict:
    return {layer: found["layers"][layer]["verdict"] for layer in LAYERS}


@pytest.mark.parametrize("name", CORE)
def test_a_model_of_the_core_is_read_right(name):
    found = record(NAMED[name].key)
    assert verdicts(found) == dict.fromkeys(LAYERS, RIGHT), found["layers"]


@pytest.mark.slow
@pytest.mark.parametrize("key", EVERYTHING)
def test_no_model_is_read_wrong(key):
    found = record(key)
    if not found["not_built"]:
        assert not {WRONG, CRASHED} & set(verdicts(found).values()), found["layers"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["transformers", "timm"])
@pytest.mark.parametrize("layer", ["input", "final"])
def test_nine_of_ten_kinds_work(source, layer):
    found = counts([record(key) for key in EVERYTHING], source)[layer]
    assert found[RIGHT] >= 0.9 * sum(found.values()), found


def test_every_kind_has_a_model_and_a_line_on_the_page():
    assert not timm_models.missing()
    page = PAGE.read_text()
    for candidate in EVERYTHING.values():
        assert f"| {candidate.kind} | {candidate.name} |" in page
    assert "crashed:" not in page
    assert "WRONG:" not in page


# The judge


def pooled(images):
    """A map that is right: 10 x 12 places of 3 channels."""
    return torch.nn.functional.avg_pool2d(images, 16)


def attended(images):
    """A map in which every place answers to the whole image, and a little more to its own part."""
    own = pooled(images)
    return own + 20 * own.mean((2, 3), keepdim=True)


def in_windows(maps):
    """Places in the order of windows of 2 x 2, as if they were in the order of rows."""
    count, channels, height, width = maps.shape
    cut = maps.reshape(count, channels, height // 2, 2, width // 2, 2).transpose(3, 4)
    return cut.reshape(maps.shape)


def shuffled(maps):
    order = torch.randperm(maps[0, 0].numel(), generator=torch.Generator().manual_seed(3))
    return maps.flatten(2)[:, :, order].reshape(maps.shape)


SPOILED = {
    "transposed": lambda maps: maps.transpose(2, 3),
    "transposed, but of the right shape": lambda maps: maps.transpose(2, 3).reshape(maps.shape),
    "shuffled": shuffled,
    "in windows": in_windows,
    "upside down": lambda maps: maps.flip(2),
    "mirrored": lambda maps: maps.flip(3),
    "moved by a third": lambda maps: maps.roll(4, 3),
    "moved by a place": lambda maps: maps.flatten(2).roll(1, 2).reshape(maps.shape),
    "channels last": lambda maps: maps.movedim(1, -1),
    "rows alone": lambda maps: maps.mean(3, keepdim=True).expand_as(maps),
    "the same everywhere": lambda maps: maps.mean((2, 3), keepdim=True).expand_as(maps),
    "dead": torch.zeros_like,
}  # fmt: skip


def images_for_the_oracle():
    return torch.randn(1, 3, 160, 192, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("read", [pooled, attended])
def test_the_oracle_knows_a_map_that_is_right(read):
    images = images_for_the_oracle()
    assert located(read(images), read(disturbed(images))).right


@pytest.mark.parametrize("read", [pooled, attended])
@pytest.mark.parametrize("spoil", SPOILED)
def test_the_oracle_knows_a_map_that_is_wrong(spoil, read):
    images = images_for_the_oracle()
    before, after = (SPOILED[spoil](read(x)) for x in (images, disturbed(images)))
    assert not located(before, after).right


def test_regions_share_every_place():
    assert torch.allclose(regions(5, 7).sum(0), torch.ones(5, 7))


@pytest.mark.parametrize("spoil", ["transposed", "shuffled", "dead"])
def test_the_judge_finds_activations_that_were_spoiled(spoil, monkeypatch):
    right = Forward.activation
    monkeypatch.setattr(Forward, "activation", lambda self, layer: SPOILED[spoil](right(self, layer)))
    found = judge(NAMED["ViTForImageClassification"])
    assert verdicts(found) == dict.fromkeys(LAYERS, WRONG)
    assert {entry["stage"] for entry in found["layers"].values()} == {"location"}


def test_the_judge_finds_a_layer_without_gradient(monkeypatch):
    monkeypatch.setattr(Forward, "gradient", lambda self, layer, *a, **k: torch.zeros_like(self.activation(layer)))
    found = judge(NAMED["ViTForImageClassification"])
    assert verdicts(found) == dict.fromkeys(LAYERS, WRONG)
    assert {entry["why"] for entry in found["layers"].values()} == {"the gradient is zero at every place"}


def test_the_judge_tells_a_crash_from_a_refusal(monkeypatch):
    def crash(model):
        raise ValueError("raised outside of the library")

    monkeypatch.setattr(judging, "middle_path", lambda model, columns: "no.such.module")
    found = judge(NAMED["ViTForImageClassification"])
    assert verdicts(found) == {"input": RIGHT, "final": RIGHT, "path": REFUSED}
    assert "no.such.module" in found["layers"]["path"]["why"]
    monkeypatch.setattr(judging, "family_of", crash)
    assert verdicts(judge(NAMED["ViTForImageClassification"])) == dict.fromkeys(LAYERS, CRASHED)
