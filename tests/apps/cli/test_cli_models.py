"""hf-guidance models and metrics: lists are those of the library, and a model that is tried says where it works."""

from __future__ import annotations

import json

import pytest

from hf_guidance import attributions, objectives
from hf_guidance.common.shipped_folders import shipped_folders
from hf_guidance.families import ARCHITECTURES


def test_a_checkpoint_is_tried_as_a_process(copied, checkpoint):
    ended = copied("models", checkpoint)
    assert ended.code == 0, ended.err
    head, columns, *lines = ended.out.splitlines()
    assert head.endswith("(ResNetForImageClassification, tried on 224 x 224 pixels): works")
    assert columns.split() == ["layer", "map", "module"]
    assert [line.split() for line in lines] == [
        ["input", "224", "x", "224"],
        ["mid1", "56", "x", "56", "resnet.encoder.stages.0"],
        ["final", "28", "x", "28", "resnet.encoder.stages.1"],
    ]
    assert "\x1b" not in ended.err


def test_every_module_that_works_as_a_layer_is_listed(cli, checkpoint):
    ended = cli("models", checkpoint, "--layers", "--json")
    assert ended.code == 0
    found = {layer["name"]: layer["map_size"] for layer in json.loads(ended.out)["layers"]}
    assert found["resnet.encoder.stages.1.layers.0.layer.0"] == [56, 56]
    assert "classifier" not in found
    assert "resnet.pooler" not in found  # one place


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm/resnet10t", "resnet10t"])
def test_types_of_transformers_and_names_of_timm_are_built(name, cli):
    ended = cli("models", name, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["works"]
    assert {layer["name"] for layer in found["layers"]} >= {"input", "final"}


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("vitt", 2, "no model is called 'vitt'; did you mean vit"),
        ("imagegpt", 1, "has no family"),
        ("bert", 1, "is no image classifier of transformers"),
        ("timm/resnet1000", 2, "no model is called 'timm/resnet1000'"),
    ],
)
def test_what_cannot_be_explained_ends_with_1_what_does_not_exist_with_2(name, code, message, cli):
    ended = cli("models", name)
    assert ended.code == code
    assert message in ended.err + ended.out


def test_models_over_boxes_work_at_their_boxes(cli, answering):
    for name in ("lxmert", answering):
        ended = cli("models", name)
        assert ended.code == 0
        assert "questions over boxes): works" in ended.out
        assert ended.out.splitlines()[-1].split() == ["input", "one", "a", "box"]


def test_lists_are_complete(cli):
    types = {name for made in ARCHITECTURES for name in made.MODEL_TYPES}
    assert set(json.loads(cli("models", "--json").out)) == types
    listed = json.loads(cli("models", "--attributions", "--json").out)
    assert set(listed) <= set(attributions.__all__)
    assert {"GradCAM", "KernelSHAP", "BcosContribution"} <= set(listed)
    assert not {"Attribution", "LabelLogit", "Target"} & set(listed)
    assert set(json.loads(cli("models", "--objectives", "--json").out)) <= set(objectives.__all__)
    text = cli("models", "--objectives").out
    assert "  Energy " in text
    assert "Boxes or other coarse masks of objects" in text
    assert max(map(len, text.splitlines())) <= 80


def test_metrics_are_those_that_are_shipped(process, cli):
    ended = process("metrics", "--json")
    assert ended.code == 0, ended.err
    listed = json.loads(ended.out)
    assert set(listed) == set(shipped_folders("metrics"))
    assert all(line and "\n" not in line for line in listed.values())
    text = cli("metrics").out
    assert all(f"  {name} " in text for name in listed)
    assert cli("metrics", "epg").out.startswith("# Metric Card for Energy Pointing Game")
    assert json.loads(cli("metrics", "epg", "--json").out)["title"] == "Energy Pointing Game"
    assert "Did you mean epg" in " ".join(cli("metrics", "egp").err.split())
