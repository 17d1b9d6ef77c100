"""The settings: each is one step of GuidedTrainer, whose weights are compared with those of plain autograd."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from every_model.in_double import InDouble
from peft import LoraConfig, get_peft_model
from torch import Tensor

from every_setting.architectures import IMAGES, Architecture
from hf_guidance import GuidanceArguments, GuidedTrainer
from hf_guidance.forward import recording

DTYPE = torch.float64


@dataclass(frozen=True)
class Setting:
    """One column of the table.

    Args:
        name: As in the table.
        arguments: Of GuidanceArguments.
        processes: In how many the batch is split.
        fused: Whether attention is as the model comes, so that the trainer makes it twice differentiable.
        adapted: Whether LoRA is trained instead of the weights.
        dtype: Of the weights.
        steps: How many are taken.
        bound: The largest error.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    processes: int = 1
    fused: bool = True
    adapted: bool = False
    dtype: torch.dtype = DTYPE
    steps: int = 1
    bound: float = 1e-9


EAGER = Setting("eager", fused=False)
SETTINGS = [
    EAGER,
    Setting("fused"),
    # Steps are compiled when their kind comes again; aot_eager records as inductor does, and runs one operation at a time.
    Setting("compiled", {"torch_compile": True, "torch_compile_backend": "aot_eager"}, steps=4),
    Setting("checkpointed", {"gradient_checkpointing": True}),
    Setting("DDP", processes=2),
    Setting("FSDP2", {"fsdp": True, "fsdp_config": {"version": 2}}, processes=2),
    Setting("LoRA", adapted=True),
    Setting("bf16", {"bf16": True}, dtype=torch.float32, bound=0.5),
]


def moved(architecture: Architecture, setting: Setting, folder: Path, *, plain: bool = False) -> Tensor:
    """How far steps of gradient descent move the trained weights, in float64.

    Args:
        architecture: What is trained.
        setting: How.
        folder: For what the trainer writes.
        plain: Whether PyTorch's autograd differentiates everything twice, without the functions of ``second_order``.
    """
    with patch.dict(os.environ):  # TrainingArguments writes how to compile into it, for all that follow
        return _moved(architecture, setting, folder, plain)


def _moved(architecture: Architecture, setting: Setting, folder: Path, plain: bool) -> Tensor:
    model = _model(architecture, setting)
    columns = {name: _of_dtype(value, setting.dtype) for name, value in architecture.columns().items()}
    arguments = dict(setting.arguments)
    if "fsdp_config" in arguments and architecture.blocks:
        arguments["fsdp_config"] = {
            **arguments["fsdp_config"],
            "transformer_layer_cls_to_wrap": list(architecture.blocks),
        }
    args = GuidanceArguments(
        str(folder), per_device_train_batch_size=IMAGES // setting.processes, max_steps=setting.steps,
        learning_rate=1.0 if setting.steps == 1 else 1e-3, optim="sgd",
        lr_scheduler_type="constant", max_grad_norm=0.0, report_to="none", save_strategy="no", use_cpu=True,
        disable_tqdm=True, dataloader_pin_memory=False, frozen_batch_norm=True,
        **({"ddp_backend": "gloo"} if setting.processes > 1 else {}), **arguments,
    )  # fmt: skip
    trainer = GuidedTrainer(
        model, args, train_dataset=_Numbers(), data_collator=lambda rows: {k: v[rows] for k, v in columns.items()},
        guidance=architecture.guidance,
    )  # fmt: skip
    trainer._get_train_sampler = lambda *args, **kwargs: None  # in order
    before = _weights(trainer)
    # The eager attention of transformers has its softmax in float32.
    exact = InDouble() if setting.dtype == DTYPE and not setting.fused else nullcontext()
    with exact, _autograd_only() if plain else nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    assert "torch_compile" not in setting.arguments or trainer._steps._graphs, "no step was compiled"
    after = _weights(trainer)
    return torch.cat([(after[name] - before[name]).flatten() for name in sorted(before)])


def error(found: Tensor, reference: Tensor) -> float:
    """Distance of two movements, relative to the reference."""
    return float((found - reference).norm() / reference.norm())


class _Numbers:
    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> int:
        return index


def _model(architecture: Architecture, setting: Setting) -> Any:
    model = architecture.build()
    if not setting.fused:
        _attend_eagerly(model)
    if setting.adapted:
        torch.manual_seed(2)
        model = get_peft_model(
            model, LoraConfig(r=2, target_modules=list(architecture.adapted), init_lora_weights=False)
        )
    return model.to(setting.dtype)


def _attend_eagerly(model: Any) -> None:
    for module in model.modules():
        if getattr(module, "fused_attn", False) is True:
            module.fused_attn = False
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")


def _of_dtype(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _weights(trainer: GuidedTrainer) -> dict[str, Tensor]:
    named = trainer.accelerator.unwrap_model(trainer.model).named_parameters()
    return {name: _whole(p).detach().double().clone() for name, p in named if p.requires_grad}


def _whole(value: Any) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


@contextmanager
def _autograd_only() -> Iterator[None]:
    def nothing(leaf: Tensor | None = None, later: bool = False) -> Any:
        return nullcontext()

    with patch.object(recording, "fast_double_backward", nothing):
        yield
