"""Settings that guidance on attributions cannot run with: refused with the reason, or warned of once."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import IterableDataset
from transformers import TrainerCallback
from transformers.utils import logging

from hf_guidance.training.sharding_checks import is_other_fsdp

logger = logging.get_logger(__name__)


def refuse_unsupported(args: Any, model: nn.Module, accelerator: Any = None) -> None:
    """Raise for settings under which second derivatives fail or are silently wrong.

    Raises:
        ValueError: A compiled model, DataParallel, static-graph DDP, FSDP1, DeepSpeed, reentrant checkpointing or float16
            weights; the message names the argument, the reason and the fix. For FSDP2 see ``refuse_sharding``.
    """
    state = getattr(accelerator, "state", None)  # what `accelerate launch` and its environment variables configured
    reasons = {
        "a compiled model": (
            _compiled(model) or _dynamo(state),
            "its graph has no double backward; give GuidedTrainer the model as it was before torch.compile, and "
            "torch_compile=True, which compiles the whole step, second derivatives included",
        ),
        "several GPUs in one process (DataParallel)": (
            getattr(args, "n_gpu", 1) > 1 or isinstance(model, nn.DataParallel),
            "its replicas lose the captured activations; start one process per GPU with torchrun or accelerate launch",
        ),
        "ddp_static_graph=True": (
            getattr(args, "ddp_static_graph", False),
            "with create_graph it silently stops averaging gradients; leave it off",
        ),
        "fsdp of version 1 or of XLA": (
            is_other_fsdp(args, state, model),
            "it flattens the weights and frees them before the second backward; use FSDP2: fsdp_config={'version': 2}, or "
            "fsdp_version: 2 in the configuration of accelerate",
        ),
        "deepspeed": (
            bool(getattr(args, "deepspeed", None)) or getattr(state, "deepspeed_plugin", None) is not None,
            "its backward hooks do not see the second derivative; use DistributedDataParallel",
        ),
        "reentrant gradient checkpointing": (
            _reentrant_arguments(args) or _reentrant_model(model),
            "it supports no autograd.grad; set gradient_checkpointing_kwargs={'use_reentrant': False}, or at the model itself "
            "gradient_checkpointing_enable({'use_reentrant': False}), for timm set_reentrant_ckpt(False)",
        ),
        "a model with float16 weights": (
            _half_weights(args, model),
            "second derivatives overflow and small updates vanish; load it with dtype=torch.float32 and train with fp16=True "
            "or bf16=True, or load it with dtype=torch.bfloat16",
        ),
    }
    for setting, (found, reason) in reasons.items():
        if found:
            raise ValueError(f"{setting} does not work with guidance on attributions: {reason}.")


class RefuseAtStart(TrainerCallback):  # type: ignore[misc]
    """Looks at the model again when training starts: it may be a new one of model_init, or have been changed since."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Raise for a model under which second derivatives fail.

        Raises:
            ValueError: As ``refuse_unsupported``.
        """
        refuse_unsupported(args, model)


def _reentrant_arguments(args: Any) -> bool:
    # transformers 5.24 has a second name for each; the older one mirrors it.
    on = getattr(args, "gradient_checkpointing", False) or getattr(args, "activation_checkpointing", False)
    given = [getattr(args, f"{name}_checkpointing_kwargs", None) or {} for name in ("gradient", "activation")]
    # transformers reads these itself, and sets use_reentrant=False where nothing else is given.
    own = {"every_n_layers", "offload"}
    return bool(on) and any(_reentrant(kwargs) for kwargs in given if kwargs.keys() - own)


def _reentrant(kwargs: Any) -> bool:
    chosen = kwargs.get("use_reentrant")
    return chosen is None or bool(chosen)  # torch takes None as True


def _reentrant_model(model: Any) -> bool:
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    functions = [
        getattr(m, "_gradient_checkpointing_func", None) for m in modules if getattr(m, "gradient_checkpointing", False)
    ]
    partials = [function.keywords for function in functions if isinstance(function, functools.partial)]
    if any(map(_reentrant, partials)) or checkpoint in functions:
        return True
    if not any(getattr(module, "grad_checkpointing", False) for module in modules):
        return False
    from timm.layers import use_reentrant_ckpt

    return bool(use_reentrant_ckpt())


def _half_weights(args: Any, model: Any) -> bool:
    # Frozen ones, below adapters in float32, are what autocast makes of any weights, and fp16=True scales the loss.
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    scaled = getattr(args, "fp16", False)
    return any(p.dtype == torch.float16 and (p.requires_grad or not scaled) for p in parameters)


def _compiled(model: nn.Module) -> bool:
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None for m in modules)


def _dynamo(state: Any) -> bool:
    backend = getattr(getattr(state, "dynamo_plugin", None), "backend", None)
    return str(getattr(backend, "value", backend or "NO")).upper() != "NO"


def refuse_dispatched_batches(args: Any, dataset: Any) -> None:
    """Raise where the first process would cut the batches for the others: the lists in them cannot be cut.

    Raises:
        ValueError: On several processes, a streaming dataset without ``dispatch_batches=False``, or any with True.
    """
    stream = isinstance(dataset, IterableDataset)
    chosen = getattr(getattr(args, "accelerator_config", None), "dispatch_batches", None)
    if getattr(args, "world_size", 1) > 1 and (chosen or (stream and chosen is None)):
        what = "dispatch_batches=True" if chosen else "a streaming dataset with the default of dispatch_batches"
        raise ValueError(
            f"{what} on several processes: the first process reads the batches and cuts them for the others, but explained "
            "rows cannot be cut; set accelerator_config={'dispatch_batches': False}."
        )


def warn_of_reductions(guidance: Any, args: Any) -> None:
    """Warn that terms with reduction "sum" or "rows" depend on how the images of an update are split into batches.

    Args:
        guidance: The terms.
        args: TrainingArguments.
    """
    split = args.gradient_accumulation_steps * args.world_size
    names = [name for name, term in guidance.items() if term.reduction != "batch"]
    if split > 1 and names:
        logger.warning(
            f"an update's images come in {split} batches (gradient accumulation, processes), and the terms {names} have the "
            'reduction "sum" or "rows": they are averaged over the batches, which is not what one batch gives ("sum" counts '
            f'{split} times less). Use reduction="batch", whose result does not depend on the split.'
        )
