"""Runs for test_accelerate_settings.py: one small training for each setting, with two processes or with one.

    python distributed_settings.py FOLDER NAME...

Every run sees the same 16 images in the same order, two updates of 8. Writes FOLDER/<name>.pt: how far the weights moved, or
the error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
from digit_models import build
from peft import LoraConfig, get_peft_model
from torch.nn.parallel import DistributedDataParallel

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy

PROCESSES = int(os.environ.get("WORLD_SIZE", 1))
ROWS, UPDATE = 16, 8
CHECKPOINTING = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"per_device_train_batch_size": UPDATE // 2 // PROCESSES, "gradient_accumulation_steps": 2},
    "checkpointing": CHECKPOINTING,
    "bf16": {"bf16": True},
    "unused": {"ddp_find_unused_parameters": True} if PROCESSES > 1 else {},
    "workers": {"dataloader_num_workers": 1},
    "split_batches": {"accelerator_config": {"split_batches": True}, "per_device_train_batch_size": UPDATE},
    "uneven": {"accelerator_config": {"even_batches": False}},
    "dispatched": {"accelerator_config": {"dispatch_batches": True}},
    "stream": {"accelerator_config": {"dispatch_batches": False}, "max_steps": ROWS // UPDATE},
    "dispatched_stream": {"max_steps": ROWS // UPDATE},
    "fsdp": {"fsdp": True, "fsdp_config": {"version": 2}} if PROCESSES > 1 else {},
    "lora": {},
    "batch_norm": {},
    "guide_every": {"guide_every": 2},
}


def rows() -> datasets.Dataset:
    generator = torch.Generator().manual_seed(0)
    made = [
        {
            "pixel_values": torch.randn(3, 32, 32, generator=generator).tolist(), "label": index % 2,
            "objects": [{"bbox": [0.0, 0.0, 16.0, 16.0], "category": index % 2}] if index % 4 else [],
        }
        for index in range(ROWS)
    ]  # fmt: skip
    return datasets.Dataset.from_list(made)


def model_of(name: str) -> torch.nn.Module:
    model = build("resnet" if name == "batch_norm" else "vit")
    if name == "lora":
        torch.manual_seed(1)
        model = get_peft_model(
            model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
        )
    return model


def trained(name: str, folder: Path) -> torch.Tensor:
    """How far each trained weight moved in the run."""
    model = model_of(name)
    before = [p.detach().clone() for p in model.parameters()]
    settings = {"per_device_train_batch_size": UPDATE // PROCESSES, "num_train_epochs": 1} | SETTINGS[name]
    gloo = {"ddp_backend": "gloo"} if PROCESSES > 1 else {}
    args = GuidanceArguments(
        output_dir=str(folder / name), learning_rate=1e-2, report_to="none", save_strategy="no", use_cpu=True,
        disable_tqdm=True, lr_scheduler_type="constant", dataloader_pin_memory=False, optim="sgd", **gloo, **settings,
    )  # fmt: skip
    data = rows()
    guidance = Guidance(energy=Term(Energy(InputXGradient("input")), 2.0))
    stream = "stream" in name
    trainer = GuidedTrainer(
        model,
        args,
        train_dataset=data.to_iterable_dataset() if stream else data.with_format("torch"),
        guidance=guidance,
    )
    trainer.train()
    assert isinstance(trainer.model_wrapped, DistributedDataParallel) or PROCESSES == 1
    assert trainer.state.global_step == ROWS // UPDATE, trainer.state.global_step
    after = trainer.accelerator.unwrap_model(trainer.model).parameters()
    return torch.cat([(new.detach() - old).flatten() for new, old in zip(after, before, strict=True)])


if __name__ == "__main__":
    for name in sys.argv[2:]:
        try:
            found: Any = trained(name, Path(sys.argv[1]))
        except ValueError as error:
            found = str(error)
        if int(os.environ.get("RANK", 0)) == 0:
            torch.save(found, Path(sys.argv[1]) / f"{name}.pt")
