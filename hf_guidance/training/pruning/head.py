"""The last layer of a classifier: the Linear module whose output is the logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.outputs import logits_of
from hf_guidance.evaluation.explaining.models import quiet
from hf_guidance.families import Family
from hf_guidance.forward.input_dtype import inputs_cast


def head_of(model: nn.Module, family: Family, inputs: Mapping[str, Any]) -> str:
    """Find the path of the last layer by one call of the model: of all Linear modules the one whose output is the logits.

    Args:
        model: The unwrapped model.
        family: Its family.
        inputs: Arguments of its forward.

    Returns:
        The path, as of ``model.get_submodule``.

    Raises:
        ValueError: No Linear module, or several, put out the logits: the head has no Linear at its end, or is made of
            several parts.
    """
    outputs: dict[str, Tensor] = {}

    def hook_of(path: str) -> Any:
        return lambda module, args, output: outputs.update({path: output})

    linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    handles = [module.register_forward_hook(hook_of(path)) for path, module in linear.items()]
    try:
        with quiet(model), inputs_cast(model):
            logits = logits_of(model(**inputs), family.logits)
    finally:
        for handle in handles:
            handle.remove()
    found = [path for path, output in outputs.items() if output.shape == logits.shape and torch.equal(output, logits)]
    if len(found) != 1:
        raise ValueError(
            f"{type(model).__name__} has {len(found)} Linear modules that put out the logits{f' ({found})' if found else ''}; "
            "training the last layer alone needs exactly one. Train the whole model by GuidedTrainer, which also keeps pruned "
            "channels at 0."
        )
    return found[0]


def head_tensors(model: nn.Module, head: str) -> list[str]:
    """Names of the saved tensors of the last layer."""
    return [name for name in model.state_dict() if name.startswith(f"{head}.")]
