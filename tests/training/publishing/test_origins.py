"""Ids of the Hub are told from paths, and no path of this machine gets into a card."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_guidance.training.publishing.origins import base_model, card_data, is_hub_id, licence_of


@pytest.mark.parametrize("text", ["microsoft/resnet-50", "timm/resnet18.a1_in1k", "org/B-cos"])
def test_ids(text):
    assert is_hub_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "/home/me/model", "./model", "../model", "~/model", "runs/voc/model", "C:\\models\\x", "out/checkpoint-500",
        "resnet", "a/b/c", "org/na me", "org/..", "org/a--b", "örg/name", None, 3, "org/name\n", "-/x", "org/x.git",
        "org/" + "x" * 100,
    ],
)  # fmt: skip
def test_no_ids(text):
    assert not is_hub_id(text)


def model(name, adapter=None):
    config = SimpleNamespace(_name_or_path=str(name))
    own = {} if adapter is None else {"peft_config": {"default": SimpleNamespace(base_model_name_or_path=adapter)}}
    return SimpleNamespace(config=config, **own)


def test_what_a_model_was_loaded_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert base_model(model("microsoft/resnet-50"), None) == "microsoft/resnet-50"
    assert base_model(model(""), None) is None
    assert base_model(SimpleNamespace(), None) is None
    assert base_model(model("microsoft/resnet-50"), "org/other") == "org/other"
    assert base_model(model("microsoft/resnet-50"), "/my/own") is None
    assert base_model(model("", adapter="org/base"), None) == "org/base"
    cached = tmp_path / "hub" / "models--microsoft--resnet-50" / "snapshots" / "abc"
    assert base_model(model(cached), None) == "microsoft/resnet-50"


def test_a_folder_is_never_named_but_what_it_came_from_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "model"
    folder.mkdir(parents=True)
    for name in (folder, "runs/model"):
        assert base_model(model(name), None) is None
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "microsoft/resnet-50"}))
    assert base_model(model(folder), None) == "microsoft/resnet-50"
    (folder / "README.md").write_text("---\nbase_model: org/first\n---\n# x\n")
    assert base_model(model("runs/model"), None) == "org/first"
    (folder / "README.md").write_text("---\nbase_model: /home/me\n---\n")
    (folder / "config.json").write_text("[")
    assert base_model(model(folder), None) is None
    (folder / "README.md").write_text("---\n: [\n---\n")
    assert base_model(model(folder), None) is None


def test_the_licence_is_that_of_a_cached_card(tmp_path, monkeypatch):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\n")
    monkeypatch.setattr(
        "hf_guidance.training.publishing.origins.try_to_load_from_cache",
        lambda repo, name: str(card) if repo == "a/b" else None,
    )
    assert licence_of("a/b") == "apache-2.0"
    assert licence_of("a/c") is licence_of(None) is None


@given(st.one_of(st.text(), st.text().map(lambda text: f"---\n{text}\n---\n"), st.binary()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_card_of_anyone_is_read_or_left_out(tmp_path, text):
    file = tmp_path / "README.md"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    assert isinstance(card_data(file), dict)
    named = base_model(model(tmp_path), None)
    assert named is None or is_hub_id(named)
