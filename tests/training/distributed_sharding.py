"""Runs for test_sharded_training.py: one small training for each setting, with two processes under FSDP2 or with one.

    python distributed_sharding.py FOLDER NAME...

Every run sees the same 16 images in the same order, two updates of 8, in float64 unless the setting says otherwise. Writes
FOLDER/<name>.pt: what `trained` returns, or the error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from digit_models import build
from peft import LoraConfig, get_peft_model
from sharded_on_cpu import shard_on_cpu
from torch import Tensor, nn
from transformers import RegNetConfig, RegNetForImageClassification

from hf_guidance import AttributionPanel, Grounding, Guidance, GuidanceArguments, GuidedTrainer, ParetoCheckpoints, Term
from hf_guidance.attributions import GradCAM, Gradient, InputXGradient, IntegratedGradients
from hf_guidance.common.sharding import shards_of
from hf_guidance.objectives import Energy, RightReasons, Sufficiency
from hf_guidance.views import zeros

PROCESSES = int(os.environ.get("WORLD_SIZE", 1))
ROWS, UPDATE = 16, 8
INSIDE = "vit.layers.0.layernorm_after"
BY_HAND = {"auto_wrap_policy": "NO_WRAP"}
LAUNCHED = {
    "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}  # fmt: skip


def energy(attribution: Any) -> Guidance:
    return Guidance(energy=Term(Energy(attribution), 2.0))


@dataclass(frozen=True)
class Setting:
    """One run: a kind of model, its guidance, how it is sharded, and further arguments."""

    kind: str = "vit"
    guidance: Guidance = field(default_factory=lambda: energy(InputXGradient("input")))
    sharding: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    annotated: int = ROWS  # so many rows have boxes
    dtype: torch.dtype = torch.float64
    measured: bool = False
    resumed: bool = False  # trained again from its first checkpoint
    callbacks: tuple[Any, ...] = ()


SAVING = {"optim": "adamw_torch", "save_strategy": "steps", "save_steps": 1}
BEST = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True, "learning_rate": 3.0}
HALF = {"per_device_train_batch_size": UPDATE // 2 // PROCESSES, "gradient_accumulation_steps": 2}
SETTINGS = {
    "vit": Setting(),
    "convnext": Setting("convnext", Guidance(rrr=Term(RightReasons(Gradient("input")), 2.0))),
    # The head is sharded by itself.
    "closed_form": Setting(
        "resnet", energy(GradCAM("final")), {"transformer_layer_cls_to_wrap": ["ResNetStage", "Linear"]}
    ),
    "found_head": Setting("regnet", energy(GradCAM("final"))),
    "inside": Setting(guidance=energy(InputXGradient(INSIDE))),
    "path": Setting(guidance=energy(IntegratedGradients("input", steps=2)), annotated=1),
    "outputs": Setting(guidance=Guidance(suff=Term(Sufficiency(replace=zeros), 2.0)), annotated=1),
    "plain": Setting(guidance=Guidance()),
    "accumulation": Setting(annotated=2, arguments=HALF | {"max_grad_norm": 1e-3}),
    "checkpointing": Setting(arguments={"gradient_checkpointing": True}),
    "recomputed": Setting(guidance=energy(InputXGradient(INSIDE)), sharding={"activation_checkpointing": True}),
    "by_hand": Setting(sharding=BY_HAND),
    "bf16": Setting(arguments={"bf16": True}, dtype=torch.float32),
    "best": Setting(arguments=SAVING | BEST | {"optim": "sgd"}, measured=True, callbacks=(AttributionPanel(count=2),)),
    "resumed": Setting(arguments=SAVING, sharding={"activation_checkpointing": True}, resumed=True),
    "lora": Setting(arguments=SAVING, resumed=True),
    "front": Setting(arguments={"eval_strategy": "epoch"}, measured=True, callbacks=(ParetoCheckpoints(),)),
    "plain_panel": Setting(guidance=Guidance(), callbacks=(AttributionPanel(GradCAM(), count=2),)),
    "by_hand_alone": Setting(),
    "evaluated_first": Setting(measured=True),
    "launched": Setting(),
    "launched_as_first": Setting(),
}


def rows(annotated: int, count: int = ROWS) -> datasets.Dataset:
    generator = torch.Generator().manual_seed(0)
    made = [
        {
            "pixel_values": torch.randn(3, 32, 32, generator=generator).tolist(), "label": index % 2,
            "objects": [{"bbox": [0.0, 0.0, 16.0, 16.0], "category": index % 2}] if index < annotated else [],
        }
        for index in range(count)
    ]  # fmt: skip
    return datasets.Dataset.from_list(made).with_format("torch")


def model_of(name: str, setting: Setting) -> nn.Module:
    model: Any = regnet() if setting.kind == "regnet" else build(setting.kind)
    if name == "lora":
        torch.manual_seed(1)
        model = get_peft_model(
            model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
        )
        model.base_model.model.vit.layernorm.bias.requires_grad_()
    model = model.to(setting.dtype)
    if name.startswith("by_hand") and PROCESSES > 1:
        from torch.distributed.fsdp import fully_shard

        for part in (*model.vit.layers, model.classifier, model):
            fully_shard(part)
    return model


def regnet() -> nn.Module:
    """A model that no file of families/ describes: its layers and its head are found."""
    torch.manual_seed(0)
    config = RegNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8, num_labels=2)
    return RegNetForImageClassification(config)


def trainer_of(name: str, folder: Path) -> GuidedTrainer:
    setting = SETTINGS[name]
    sharded = {"ddp_backend": "gloo"}
    if not name.startswith(("launched", "by_hand_alone")):
        sharded |= {"fsdp": True, "fsdp_config": {"version": 2, **setting.sharding}}
    given = {"per_device_train_batch_size": UPDATE // PROCESSES, "num_train_epochs": 1, "optim": "sgd"}
    given |= {"save_strategy": "no", "learning_rate": 1e-2} | (sharded if PROCESSES > 1 else {}) | setting.arguments
    args = GuidanceArguments(
        output_dir=str(folder / name), report_to="none", use_cpu=True, disable_tqdm=True, logging_steps=1,
        lr_scheduler_type="constant", dataloader_pin_memory=False, frozen_batch_norm=True, per_device_eval_batch_size=2,
        **given,
    )  # fmt: skip
    measured = {"eval_dataset": rows(8, 11), "grounding": Grounding(InputXGradient("input"), ("epg", "rrr"))}
    return GuidedTrainer(
        model_of(name, setting), args, train_dataset=rows(setting.annotated), guidance=setting.guidance,
        callbacks=list(setting.callbacks), **(measured if setting.measured else {}),
    )  # fmt: skip


def weights(trainer: GuidedTrainer) -> dict[str, Tensor]:
    return {
        name.replace("._checkpoint_wrapped_module", ""): whole(value).detach().clone()
        for name, value in trainer.model.named_parameters()
    }


def whole(value: Any) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def trained(name: str, folder: Path) -> dict[str, Any]:
    """The weights before and after the run, what was measured, and into how many parts the model was sharded."""
    setting, trainer = SETTINGS[name], trainer_of(name, folder)
    before = weights(trainer)
    if name == "evaluated_first":
        trainer.evaluate()
    trainer.train()
    after = weights(trainer)
    found = {
        "before": before,
        "after": after,
        "shards": len(shards_of(trainer.model)),
        "best": trainer.state.best_global_step,
    }
    found["measured"] = trainer.evaluate() if setting.measured else {}
    if name == "found_head":
        found["head"], found["late"] = trainer.family.head_at("final"), late_layer(trainer)
    if setting.resumed:
        again = trainer_of(name, folder / "again")
        again.train(resume_from_checkpoint=str(folder / name / "checkpoint-1"))
        found["again"] = weights(again)
    return found


def late_layer(trainer: GuidedTrainer) -> str:
    """What the trainer says of a layer that nobody named before the model was sharded."""
    try:
        return str(trainer.family.layout("regnet.encoder.stages.0", trainer.model))
    except ValueError as error:
        return str(error)


@contextmanager
def launched(name: str) -> Iterator[None]:
    """The environment that `accelerate launch` makes of a configuration with FSDP."""
    chosen = LAUNCHED if name.startswith("launched") else {}
    chosen = chosen | ({"FSDP_VERSION": "1"} if name.endswith("first") else {})
    before = dict(os.environ)
    os.environ.update(chosen)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    shard_on_cpu()
    for name in sys.argv[2:]:
        try:
            with launched(name):
                found: Any = trained(name, Path(sys.argv[1]))
        except ValueError as error:
            found = str(error)
        if int(os.environ.get("RANK", 0)) == 0:
            torch.save(found, Path(sys.argv[1]) / f"{name}.pt")
