"""Runs for test_sharded_training.py: one small training for each setting, with two processes under FSDP2 or with one.

    python distributed_sharding.py FOLDER NAME...

Every run sees the same 16 images in the same order, two updates of 8, in float64 unless the setting says otherwise. Writes
FOLDER/<name>.pt: what `trained` returns, or the error.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from digit_models import build
from peft import LoraConfig, get_peft_model
from sharded_on_cpu import shard_on_cpu
from tiny import BUILDERS

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import Gradient, GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.common.sharding import shards_of
from hf_guidance.objectives import Energy, RightReasons, Sufficiency
from hf_guidance.views import zeros

PROCESSES = int(os.environ.get("WORLD_SIZE", 1))
ROWS, UPDATE = 16, 8
ENERGY = Guidance(energy=Term(Energy(InputXGradient("input")), 2.0))
STAGES = {"transformer_layer_cls_to_wrap": ["ResNetStage"]}
EVERY_MODULE = {"auto_wrap_policy": "SIZE_BASED_WRAP", "min_num_params": 1}  # the head, too, is sharded by itself


@dataclass(frozen=True)
class Setting:
    """One run: a kind of model, its guidance, how it is sharded, and further arguments."""

    kind: str = "vit"
    guidance: Guidance = field(default_factory=lambda: ENERGY)
    sharding: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    annotated: int = ROWS  # so many rows have boxes
    dtype: torch.dtype = torch.float64
    evaluated: bool = False


def energy(attribution: Any) -> Guidance:
    return Guidance(energy=Term(Energy(attribution), 2.0))


HALF = {"per_device_train_batch_size": UPDATE // 2 // PROCESSES, "gradient_accumulation_steps": 2}
SETTINGS = {
    "vit": Setting(evaluated=True),
    "convnext": Setting("convnext", Guidance(rrr=Term(RightReasons(Gradient("input")), 2.0))),
    "closed_form": Setting("resnet", energy(GradCAM("final")), {"transformer_layer_cls_to_wrap": ["ResNetStage", "Linear"]}),
    "found_head": Setting("timm_resnet", energy(GradCAM("final")), EVERY_MODULE),
    "stages": Setting("resnet", energy(InputXGradient("mid1")), STAGES),
    "inside": Setting(guidance=energy(InputXGradient("vit.layers.0.layernorm_after"))),
    "one_row": Setting(annotated=1),
    "path": Setting(guidance=energy(IntegratedGradients("input", steps=2)), annotated=1),
    "outputs": Setting(guidance=Guidance(suff=Term(Sufficiency(replace=zeros), 2.0)), annotated=1),
    "plain": Setting(guidance=Guidance()),
    "accumulation": Setting(annotated=4, arguments=HALF),
    "clipping": Setting(arguments={"max_grad_norm": 1e-3}),
    "checkpointing": Setting(arguments={"gradient_checkpointing": True}),
    "bf16": Setting(arguments={"bf16": True}, dtype=torch.float32),
    "lora": Setting(),
    "act": Setting(sharding={"activation_checkpointing": True}),
    "actin": Setting(sharding={"activation_checkpointing": True}, guidance=energy(InputXGradient("vit.layers.0.layernorm_after"))),
    "actmid": Setting(sharding={"activation_checkpointing": True}, guidance=energy(InputXGradient("mid1"))),
    "offload": Setting(sharding={"cpu_offload": True}),
    "ram": Setting(sharding={"cpu_ram_efficient_loading": True}),
    "zero": Setting(guidance=Guidance(task=Term(__import__("hf_guidance.objectives",fromlist=["x"]).TaskLoss(),0.0), energy=Term(Energy(InputXGradient("input")),2.0)), annotated=1),
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


def model_of(name: str, setting: Setting) -> torch.nn.Module:
    model = BUILDERS[setting.kind]() if setting.kind in BUILDERS and "timm" in setting.kind else build(setting.kind)
    if name == "lora":
        torch.manual_seed(1)
        model = get_peft_model(
            model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
        )
    return model.to(setting.dtype)


def trainer_of(name: str, folder: Path, **more: Any) -> GuidedTrainer:
    setting = SETTINGS[name]
    sharded = {"ddp_backend": "gloo", "fsdp": True, "fsdp_config": {"version": 2, **setting.sharding}}
    given = {"per_device_train_batch_size": UPDATE // PROCESSES, "num_train_epochs": 1, "optim": "sgd"}
    given |= (sharded if PROCESSES > 1 else {}) | setting.arguments | more
    args = GuidanceArguments(
        output_dir=str(folder / name), learning_rate=1e-2, report_to="none", use_cpu=True, disable_tqdm=True,
        lr_scheduler_type="constant", dataloader_pin_memory=False, frozen_batch_norm=True, logging_steps=1,
        per_device_eval_batch_size=2, **({"save_strategy": "no"} | given),
    )  # fmt: skip
    measured = {"eval_dataset": rows(8, 11), "grounding": Grounding(InputXGradient("input"), ("epg", "rrr"))}
    return GuidedTrainer(
        model_of(name, setting), args, train_dataset=rows(setting.annotated), guidance=setting.guidance,
        **(measured if setting.evaluated else {}),
    )  # fmt: skip


def weights(trainer: GuidedTrainer) -> list[torch.Tensor]:
    return [whole(p).detach().clone() for p in trainer.model.parameters()]


def whole(tensor: Any) -> torch.Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def trained(name: str, folder: Path) -> dict[str, Any]:
    """How far each weight moved in the run, what was logged and measured, and into how many parts the model was sharded."""
    trainer = trainer_of(name, folder)
    before = weights(trainer)
    trainer.train()
    moved = torch.cat([(new - old).flatten() for new, old in zip(weights(trainer), before, strict=True)])
    logs = [{k: v for k, v in entry.items() if k.startswith("loss/")} for entry in trainer.state.log_history]
    measured = trainer.evaluate() if SETTINGS[name].evaluated else {}
    return {"moved": moved, "logs": logs[:2], "measured": measured, "shards": len(shards_of(trainer.model))}


if __name__ == "__main__":
    shard_on_cpu()
    for name in sys.argv[2:]:
        try:
            found: Any = trained(name, Path(sys.argv[1]))
        except ValueError as error:
            found = str(error)
        if int(os.environ.get("RANK", 0)) == 0:
            torch.save(found, Path(sys.argv[1]) / f"{name}.pt")
