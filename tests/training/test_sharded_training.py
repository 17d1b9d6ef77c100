"""FSDP2: two processes that shard the model against one that does not, in float64."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from distributed_sharding import SETTINGS, trained
from forks import ranks, script
from safetensors.torch import load_file
from transformers import ViTForImageClassification

from hf_guidance import Guidance

HERE = Path(__file__).parent
ROUNDING = 1e-13  # of how far the weights moved; what the processes add up in another order leaves 2e-15
EXACT = {
    "vit": "vit", "convnext": "convnext", "closed_form": "closed_form", "found_head": "found_head", "inside": "inside",
    "path": "path", "outputs": "outputs", "plain": "plain", "accumulation": "accumulation", "checkpointing": "vit",
    "recomputed": "inside", "by_hand": "vit", "launched": "vit", "best": "best", "lora": "lora",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes ran every setting."""
    folder = tmp_path_factory.mktemp("sharded")
    ranks(2, script(HERE / "distributed_sharding.py", folder, *SETTINGS))
    return folder


@pytest.fixture(scope="module")
def sharded(folder):
    """By setting, what two processes found, or their error."""
    return {name: torch.load(folder / f"{name}.pt", weights_only=False) for name in SETTINGS}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """By setting, what one process finds."""
    folder, found = tmp_path_factory.mktemp("alone"), {}

    def run(name):
        if name not in found:
            found[name] = trained(name, folder)
        return found[name]

    return run


def moved(found):
    return torch.cat([(found["after"][name] - found["before"][name]).flatten() for name in found["before"]])


def distance(one, other):
    return float((moved(one) - moved(other)).norm() / moved(other).norm())


@pytest.mark.parametrize(("name", "reference"), EXACT.items())
def test_two_processes_that_shard_do_what_one_does(name, reference, sharded, alone):
    assert sharded[name]["shards"] > 2
    assert sharded[name]["before"].keys() == sharded[name]["after"].keys()
    assert moved(alone(reference)).norm() > 0
    assert distance(sharded[name], alone(reference)) < ROUNDING


def test_bf16(sharded, alone):
    """Here Accelerate has the weights themselves in bfloat16 during a step, not autocast."""
    assert 0 < distance(sharded["bf16"], alone("vit")) < 0.2


def test_a_head_that_was_found_stays_found(sharded, alone):
    assert sharded["found_head"]["head"] == "classifier.1"
    assert "Layout(" in alone("found_head")["late"]
    assert "FSDP2" in sharded["found_head"]["late"]


def test_what_is_measured(sharded, alone, folder):
    one, two = alone("best")["measured"], sharded["best"]["measured"]
    for name in ("eval_loss", "eval_loss/energy", "eval_epg", "eval_rrr_suff", "eval_rrr_inv"):
        assert two[name] == pytest.approx(one[name], rel=1e-12), name
    record = json.loads((folder / "best" / "panels" / "panels.json").read_text())
    assert [panel["step"] for panel in record["panels"]] == [0, 1, 2]


def test_a_resumed_run_is_the_run_that_never_stopped(sharded):
    for name in ("resumed", "lora"):
        after, again = sharded[name]["after"], sharded[name]["again"]
        assert all(torch.equal(after[key], again[key]) for key in after)


def test_checkpoints_are_whole(sharded, folder):
    checkpoint = folder / "resumed" / "checkpoint-2"
    assert list(Guidance.load(checkpoint)) == ["task", "energy"]
    loaded = dict(ViTForImageClassification.from_pretrained(checkpoint, dtype=torch.float64).named_parameters())
    after = sharded["resumed"]["after"]
    assert loaded.keys() == after.keys()
    assert all(torch.equal(loaded[name], after[name]) for name in after)


def test_what_is_trained_beside_adapters_is_saved_whole(sharded, folder):
    beside = load_file(folder / "lora" / "checkpoint-2" / "beside_adapters.safetensors")
    (name,) = [name for name in beside if name.endswith("vit.layernorm.bias")]
    assert beside[name].any()
    assert torch.equal(beside[name], sharded["lora"]["after"][name])


def test_the_best_model_is_loaded(sharded, alone):
    assert sharded["best"]["best"] == alone("best")["best"] == 1  # the second step was too long


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("front", "ParetoCheckpoints.*FSDP2.*load_best_model_at_end"),
        ("plain_panel", "AttributionPanel.*FSDP2.*grounding=Grounding"),
        ("by_hand_alone", "ViTForImageClassification is sharded.*'auto_wrap_policy': 'NO_WRAP'"),
        ("evaluated_first", "a model and optimizer must be passed together"),  # Accelerate's own
        ("launched_as_first", "fsdp of version 1.*fsdp_version: 2"),
    ],
)
def test_what_fails_is_refused(name, message, sharded):
    assert re.search(message, sharded[name]), sharded[name]
