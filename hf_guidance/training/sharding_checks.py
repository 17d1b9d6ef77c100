"""What cannot be trained where weights are spread over processes (FSDP): refused with the reason."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from hf_guidance.common.sharding import is_sharded
from hf_guidance.training.checkpoint_weights import shown


def is_other_fsdp(args: Any, state: Any, model: Any) -> bool:
    """Whether FSDP is asked for, but not FSDP2.

    Args:
        args: TrainingArguments.
        state: Accelerate's state; it has a plugin where Accelerate will shard, which on a CPU it does not.
        model: The model, which may be wrapped.
    """
    if any(kind.__name__ == "FullyShardedDataParallel" for kind in type(model).__mro__):
        return True
    plugin = getattr(state, "fsdp_plugin", None)
    if plugin is None and not getattr(args, "fsdp", None):
        return False
    config: Any = getattr(args, "fsdp_config", None)
    config = config if isinstance(config, Mapping) else {}
    given = (getattr(args, "fsdp_plugin_args", None) or {}).get("fsdp_version", config.get("version", 1))
    version = given if plugin is None else getattr(plugin, "fsdp_version", 1)
    return int(version) != 2 or bool(config.get("xla"))


def refuse_sharding(model: Any, accelerator: Any) -> None:
    """Raise for what fails or loses something where FSDP2 shards the model of a guided run.

    Args:
        model: The model, before Accelerate prepares it.
        accelerator: The trainer's.

    Raises:
        ValueError: Scalar parameters, weights in float16, checkpoints in pieces, blocks that the model does not have, or a
            model that is sharded while Accelerate does not know; the message names the setting, the reason and the fix.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None and is_sharded(model):
        raise ValueError(
            f"this {type(model).__name__} is sharded by FSDP2, but Accelerate does not know: it would be neither trained nor "
            "saved as such. Give GuidanceArguments(fsdp=True, fsdp_config={'version': 2, 'auto_wrap_policy': 'NO_WRAP'}), or "
            "the model as it was before fully_shard(), which Accelerate shards."
        )
    scalars = [name for name, value in model.named_parameters() if value.dim() == 0] if plugin is not None else []
    if scalars:
        raise ValueError(
            f"FSDP2 shards no scalars, and {type(model).__name__} has the parameters {shown(scalars)}, as the weight norms of "
            "UpDn and Pythia do; use DistributedDataParallel."
        )
    _refuse_other_blocks(model, plugin)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if getattr(policy, "param_dtype", None) == torch.float16:
        raise ValueError(
            "fp16 with FSDP2, which has the weights themselves in float16 during a step: second derivatives overflow. Train "
            "with bf16=True, or in full precision."
        )
    if plugin is not None and "SHARDED_STATE_DICT" in str(plugin.state_dict_type):
        raise ValueError(
            "state_dict_type SHARDED_STATE_DICT saves the pieces of each process, and neither a model that from_pretrained "
            "reads nor guidance.json; a guided step has the whole weights anyway. Set fsdp_config={'state_dict_type': "
            "'FULL_STATE_DICT'}, or fsdp_state_dict_type: FULL_STATE_DICT in the configuration of accelerate."
        )


def _refuse_other_blocks(model: nn.Module, plugin: Any) -> None:
    """Raise for modules that are to be sharded one by one and do not occur, as transformers names for models of timm."""
    policy = getattr(plugin, "auto_wrap_policy", None)
    if (policy.func if isinstance(policy, functools.partial) else policy) is not transformer_auto_wrap_policy:
        return
    given = plugin.transformer_cls_names_to_wrap
    wanted = list(getattr(model, "_no_split_modules", None) or []) if given is None else given
    kinds = {type(module).__name__ for module in model.modules()}
    if missing := sorted(set(wanted) - kinds):
        whose = f"_no_split_modules of {type(model).__name__}" if given is None else "transformer_layer_cls_to_wrap"
        raise ValueError(
            f"{whose} names {missing}, whose modules FSDP2 would shard one by one, but the model has none. Give "
            f"fsdp_config={{'version': 2, 'transformer_layer_cls_to_wrap': [...]}} with its blocks, such as {_blocks(model)}."
        )


def _blocks(model: nn.Module) -> list[str]:
    """Classes in lists of modules, or else of any module inside; those of PyTorch left out, the most frequent first."""
    lists = (module for module in model.modules() if isinstance(module, nn.Sequential | nn.ModuleList))
    own = Counter(type(child) for children in lists for child in children.children() if not _of_torch(child))
    found = own or Counter(type(child) for child in model.modules() if child is not model and not _of_torch(child))
    return [kind.__name__ for kind, _ in found.most_common(3)] or [type(model).__name__]


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")
