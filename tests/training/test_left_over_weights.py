"""A folder that another kind of model was saved in before: it holds the later one alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from hf_guidance import Guidance
from hf_guidance.training.checkpoint_weights import read_weights
from hf_guidance.training.publishing.staging import staged

REPO = "tester/guided"
ADAPTER = {"adapter_config.json", "adapter_model.safetensors", "beside_adapters.safetensors"}
WHOLE = {"config.json", "model.safetensors"}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def lora(model):
    return get_peft_model(model, LoraConfig(r=2, target_modules=["convolution"], modules_to_save=["classifier"]))


def inside(folder):
    return {path.name for path in Path(folder).iterdir()} & (ADAPTER | WHOLE)


def test_adapters_and_whole_weights_never_lie_side_by_side(trainer_of, model_of, out, caplog):
    logging.getLogger("transformers").propagate = True
    trainer_of(lora(model_of()), Guidance()).save_model()
    assert inside(out) == ADAPTER
    trainer_of(model := model_of(), Guidance()).save_model()
    assert inside(out) == WHOLE
    assert (
        "adapter_config.json, adapter_model.safetensors, beside_adapters.safetensors of an earlier save" in caplog.text
    )
    loaded = type(model).from_pretrained(out)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    trainer_of(lora(model_of()), Guidance()).save_model()
    assert inside(out) == ADAPTER


def test_an_adapter_leaves_the_weights_that_it_was_trained_on(trainer_of, model_of, out):
    model_of().save_pretrained(out)
    model = type(model_of()).from_pretrained(out)
    trainer_of(lora(model), Guidance()).save_model()
    assert inside(out) == ADAPTER | WHOLE
    PeftModel.from_pretrained(type(model).from_pretrained(out), out)


def test_one_file_and_shards(trainer_of, model_of, out):
    model = model_of()
    model.save_pretrained(out, max_shard_size="2KB")
    assert len(list(out.glob("model-*"))) > 1
    trainer_of(model, Guidance()).save_model()
    assert [path.name for path in out.glob("model*")] == ["model.safetensors"]


def test_shards_take_the_place_of_one_file(trainer_of, model_of, out, monkeypatch):
    trainer_of(model_of(), Guidance()).save_model()
    other = model_of()
    with torch.no_grad():
        other.classifier[1].bias.add_(1)
    whole = type(other).save_pretrained
    monkeypatch.setattr(
        type(other), "save_pretrained", lambda self, *a, **k: whole(self, *a, max_shard_size="2KB", **k)
    )
    trainer_of(other, Guidance()).save_model()
    assert not (out / "model.safetensors").exists()
    assert torch.equal(read_weights(out)["classifier.1.bias"], other.classifier[1].bias)


def test_weights_of_a_model_without_save_pretrained_stay(trainer_of, model_of, out):
    model_of().save_pretrained(out, max_shard_size="2KB")

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model_of()

        def forward(self, **inputs):
            return self.inner(**inputs)

    from hf_guidance.training.left_over_weights import remove_left_over

    model = Plain()
    save_file(model.state_dict(), out / "model.safetensors")
    remove_left_over(model, out)
    assert [path.name for path in out.glob("model*")] == ["model.safetensors"]


def test_what_is_pushed_while_training_holds_no_weights_of_before(trainer_of, model_of, out):
    trainer_of(lora(model_of()), Guidance()).save_model()
    trainer_of(model_of(), Guidance(), save_strategy="steps", save_steps=1, max_steps=1).train()
    folder = staged(out, out / "checkpoint-1", None, ("checkpoint-*", "_*"))
    assert inside(folder) == WHOLE


def test_the_repo_holds_the_later_model_alone(hub, pauses, trainer_of, model_of, out):
    pushed = {"push_to_hub": True, "hub_model_id": REPO}
    trainer_of(lora(model_of()), Guidance(), output_dir=str(out / "first"), **pushed).push_to_hub()
    assert hub.files(REPO).keys() & (ADAPTER | WHOLE) == ADAPTER
    trainer_of(model_of(), Guidance(), output_dir=str(out / "second"), **pushed).push_to_hub()
    assert hub.files(REPO).keys() & (ADAPTER | WHOLE) == WHOLE
    assert len(hub.repo(REPO).commits) == 3
