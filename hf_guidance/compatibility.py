"""What guidance on attributions cannot run with: refused with the reason, or switched and said once."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.utils import logging

logger = logging.get_logger(__name__)

_FUSED = ("sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


def refuse_unsupported(args: Any, model: nn.Module) -> None:
    """Raise for settings under which second derivatives fail or are silently wrong.

    Raises:
        ValueError: torch.compile, DataParallel, static-graph DDP, FSDP, DeepSpeed or reentrant checkpointing; names the
            argument, the reason and the fix.
    """
    kwargs = getattr(args, "gradient_checkpointing_kwargs", None) or {}
    reasons = {
        "torch_compile=True (or a compiled model)": (
            getattr(args, "torch_compile", False) or hasattr(model, "_orig_mod"),
            "compiled graphs have no double backward; train without torch.compile, and compile the finished model",
        ),
        "several GPUs in one process (DataParallel)": (
            getattr(args, "n_gpu", 1) > 1 or isinstance(model, nn.DataParallel),
            "its replicas lose the captured activations; start one process per GPU with torchrun or accelerate launch",
        ),
        "ddp_static_graph=True": (
            getattr(args, "ddp_static_graph", False),
            "with create_graph it silently stops averaging gradients; leave it off",
        ),
        "fsdp": (
            bool(getattr(args, "fsdp", None)),
            "sharded parameters are freed before the second backward; use DistributedDataParallel",
        ),
        "deepspeed": (
            bool(getattr(args, "deepspeed", None)),
            "its backward hooks do not see the second derivative; use DistributedDataParallel",
        ),
        "reentrant gradient checkpointing": (
            getattr(args, "gradient_checkpointing", False) and kwargs.get("use_reentrant", False),
            "it supports no autograd.grad; set gradient_checkpointing_kwargs={'use_reentrant': False}",
        ),
    }
    for setting, (found, reason) in reasons.items():
        if found:
            raise ValueError(f"{setting} does not work with guidance on attributions: {reason}.")


def use_differentiable_attention(model: Any) -> None:
    """Switch fused attention, which has no double backward, to the eager implementation, and say so once."""
    switched = []
    implementation = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if implementation in _FUSED and hasattr(model, "set_attn_implementation") and not hasattr(model, "timm_model"):
        model.set_attn_implementation("eager")
        switched.append(f"attn_implementation={implementation!r}")
    for module in model.modules():
        if getattr(module, "fused_attn", False) is True:
            module.fused_attn = False
            switched.append("timm's fused_attn")
    if switched:
        logger.warning_once(
            f"{switched[0]} has no double backward: attention switched to the eager implementation. Load the model with "
            "attn_implementation='eager' to silence this."
        )
