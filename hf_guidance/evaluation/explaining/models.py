"""The model while it is explained: unwrapped, in eval mode, its weights held constant; afterwards as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hf_guidance.common.checkpointing import checkpointing_off
from hf_guidance.common.eval_mode import evaluating
from hf_guidance.common.wrappers import unwrapped
from hf_guidance.families import Family, family_of

_SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine")
_ONE_AT_A_TIME = threading.RLock()  # hooks of one thread would record the calls of another


def plain_model(model: Any) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel or ``torch.compile``, which is called as it is.

    Raises:
        ValueError: It is no module, its weights are sharded, or they were made under ``torch.inference_mode()``.
    """
    inner = unwrapped(model)
    while isinstance(getattr(inner, "_orig_mod", None), nn.Module):  # torch.compile
        inner = unwrapped(inner._orig_mod)
    if not isinstance(inner, nn.Module):
        raise ValueError(
            f"model is a {type(model).__name__}; give a model, as AutoModelForImageClassification makes it."
        )
    sharded = [kind.__name__ for kind in type(inner).__mro__ if kind.__name__ in _SHARDED]
    if sharded:
        raise ValueError(
            f"model is a {sharded[0]}, whose weights are spread over processes; save it, and explain the model that "
            "from_pretrained makes of that."
        )
    if any(parameter.is_inference() for parameter in _parameters(inner)):
        raise ValueError(
            "the model's weights were made under torch.inference_mode(), where nothing can be differentiated; load the model "
            "outside of it. Explaining under it is possible."
        )
    return inner


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter, which takes the inputs."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def image_family(model: nn.Module, given: Family | None, arguments: Mapping[str, Any] | None) -> Family:
    """The family of a model of images, with further arguments of its calls.

    Args:
        model: The unwrapped model.
        given: A family by hand; found when None.
        arguments: Added to the family's; None adds nothing.

    Raises:
        ValueError: The model reads no images.
    """
    family = given or family_of(model)
    if not family.images:
        raise ValueError(
            f"{type(model).__name__} reads {family.features!r} and no images; for questions over boxes use explain_answer."
        )
    return family.with_arguments(arguments) if arguments else family


def _parameters(model: nn.Module) -> list[nn.Parameter]:
    # Those of model.parameters(), shared ones several times, in a third of its time.
    return [parameter for part in model.modules() for parameter in part._parameters.values() if parameter is not None]


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Inside, nothing of the model is learned: eval mode, no weight asks for a gradient, no activation is dropped.

    Without gradients of weights a call keeps less, and nothing before the layer that is read. Compiled parts
    (``model.compile()``) run uncompiled, so that layers can be recorded. Threads wait for each other.

    Args:
        model: The unwrapped model.
    """
    with _ONE_AT_A_TIME, torch.inference_mode(False), evaluating(model), checkpointing_off(model):
        learned = [parameter for parameter in _parameters(model) if parameter.requires_grad]
        compiled = [(m, vars(m)["_compiled_call_impl"]) for m in model.modules() if vars(m).get("_compiled_call_impl")]
        try:
            for parameter in learned:
                parameter.requires_grad_(False)
            for module, _ in compiled:
                module._compiled_call_impl = None
            with torch.no_grad():
                yield
        finally:
            for parameter in learned:
                parameter.requires_grad_(True)
            for module, implementation in compiled:
                module._compiled_call_impl = implementation
