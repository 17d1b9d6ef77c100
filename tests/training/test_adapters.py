"""Adapters (PEFT): guided training moves them alone, and checkpoints give all of it back."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_whole_checkpoints import SETTINGS, Weights, assert_equal, check_resume_and_best, image_rows, model_of, state

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy
from hf_guidance.training import checkpoint_adapters
from hf_guidance.training.checkpoint_adapters import BESIDE, load_adapters, save_beside

GUIDANCE = Guidance(energy=Term(Energy(GradCAM(layer="final")), 1.0, "rows"))
TARGETS = {"vit": ["q_proj", "v_proj"], "resnet": ["convolution"], "swin": ["q_proj"]}


def lora(name, **options):
    return LoraConfig(r=2, target_modules=TARGETS[name], **{"modules_to_save": ["classifier"]} | options)


def wrapped(name, **options):
    model = model_of(name)
    torch.manual_seed(1)
    return get_peft_model(model, lora(name, **options))


def added(name):
    """By transformers' own method."""
    model = model_of(name)
    torch.manual_seed(1)
    model.add_adapter(lora(name, modules_to_save=None))
    return model


def trainer_of(model, folder, watch=None, **settings):
    return GuidedTrainer(
        model, GuidanceArguments(str(folder), **(SETTINGS | settings)), train_dataset=image_rows(), eval_dataset=image_rows(2),
        guidance=GUIDANCE, callbacks=[watch] if watch else None, compute_metrics=watch,
    )  # fmt: skip


@pytest.mark.parametrize("build", [wrapped, added])
@pytest.mark.parametrize("name", TARGETS)
def test_resume_and_best_model(name, build, tmp_path, monkeypatch):
    # Each transformers wants the PEFT of its day, for methods that are not used here.
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda **_: None)
    check_resume_and_best(lambda watch: trainer_of(build(name), tmp_path, watch), tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_guidance_moves_the_adapters_and_leaves_the_rest(name, tmp_path):
    model = wrapped(name)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    trained = {key for key, value in model.named_parameters() if value.requires_grad}
    trainer = trainer_of(model, tmp_path, Weights())
    trainer.train()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert moved == trained
    assert all("loss/energy" in entry for entry in trainer.state.log_history if "loss" in entry)


@pytest.mark.parametrize("bias", ["all", "lora_only"])
@pytest.mark.parametrize("modules", [["classifier"], None])
def test_trained_biases_are_loaded(bias, modules, tmp_path):
    def build():
        return wrapped("vit", bias=bias, modules_to_save=modules)

    check_resume_and_best(lambda watch: trainer_of(build(), tmp_path, watch), tmp_path)


def test_adapters_of_other_names_are_loaded(tmp_path):
    def build():
        model = get_peft_model(model_of("vit"), lora("vit"), adapter_name="one")
        model.add_adapter("other", lora("vit"))
        return model

    check_resume_and_best(lambda watch: trainer_of(build(), tmp_path, watch), tmp_path)


def saved(tmp_path, **options):
    model = wrapped("vit", **options)
    with torch.no_grad():
        [p.add_(1) for p in model.parameters() if p.requires_grad]
    model.save_pretrained(tmp_path)
    return model


def edit(folder, change):
    content = load_file(folder / "adapter_model.safetensors")
    change(content)
    save_file(content, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def test_bin_files_are_read(tmp_path):
    written = saved(tmp_path)
    torch.save(load_file(tmp_path / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_model.safetensors").unlink()
    read = wrapped("vit")
    load_adapters(read, tmp_path)
    assert_equal(state(read), state(written))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("layers.1.*lora_B", lambda found: found.pop(next(k for k in found if "layers.1" in k and "lora_B" in k))),
        ("classifier", lambda found: found.pop("base_model.model.classifier.bias")),
        ("unknown", lambda found: found.update({"base_model.model.vit.unknown.lora_A.weight": torch.zeros(2, 2)})),
        ("q_proj.lora_A", lambda found: found.update({next(k for k in found if "q_proj.lora_A" in k): torch.zeros(1, 1)})),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(part, change, tmp_path):
    saved(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(ValueError, match=part):
        load_adapters(wrapped("vit"), tmp_path)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"r": 4}, "size mismatch"),
        ({"target_modules": ["q_proj"]}, "tensors without a place .*v_proj"),
        ({"bias": "all"}, r"missing: .*layernorm.*bias"),
    ],
)
def test_another_config_is_refused(other, reason, tmp_path):
    saved(tmp_path)
    config = {"target_modules": TARGETS["vit"]} | other
    model = get_peft_model(model_of("vit"), LoraConfig(**({"r": 2, "modules_to_save": ["classifier"]} | config)))
    with pytest.raises(ValueError, match=f"{reason}.*adapter"):
        load_adapters(model, tmp_path)


def test_a_folder_without_adapters_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"missing: .*lora_A"):
        load_adapters(wrapped("vit"), tmp_path)


def half_wrapped():
    model = wrapped("vit", modules_to_save=None)
    model.base_model.model.classifier.requires_grad_(True)
    return model


def test_what_is_trained_beside_the_adapter_is_resumed_too(tmp_path):
    check_resume_and_best(lambda watch: trainer_of(half_wrapped(), tmp_path, watch), tmp_path)


def test_what_is_trained_beside_the_adapter_is_not_lost(tmp_path):
    model = half_wrapped()
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing: .*classifier.bias.*classifier.weight"):
        load_adapters(half_wrapped(), tmp_path)
    save_beside(model, tmp_path)
    load_adapters(half_wrapped(), tmp_path)
    save_file({"unknown": torch.zeros(1)}, tmp_path / BESIDE)
    with pytest.raises(ValueError, match=r"beside_adapters.safetensors has tensors without a place.*'unknown'"):
        load_adapters(half_wrapped(), tmp_path)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (half_wrapped, ["classifier.bias", "classifier.weight"]),
        (lambda: wrapped("resnet").train(), ["embedder.normalization.running_mean"]),
        (lambda: wrapped("resnet").eval(), []),
        (lambda: wrapped("vit"), []),
    ],
)
def test_what_only_the_trainer_reads_is_said(build, named, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(checkpoint_adapters.logger, "warning_once", said.append)
    save_beside(build(), tmp_path)
    assert len(said) == bool(named)
    assert all(name in said[0] and "modules_to_save" in said[0] for name in named)


def test_statistics_that_are_not_in_the_checkpoint_are_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(checkpoint_adapters.logger, "warning", said.append)
    wrapped("resnet").save_pretrained(tmp_path)
    load_adapters(wrapped("resnet"), tmp_path)
    assert "running statistics stay those of the base model" in said[0]
