"""The attention of a model, switched to one that can be differentiated twice."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import gradgradcheck
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import logging

from hf_guidance.second_order import fast_double_backward
from hf_guidance.second_order.attention import AttentionMode, carry_attention_mode
from hf_guidance.views.layers import is_attention

logger = logging.get_logger(__name__)

TWICE_DIFFERENTIABLE = "twice_differentiable_sdpa"
_FUSED = (sdpa_attention_forward, flash_attention_forward, flex_attention_forward)
_ASKS_FOR_SDPA = re.compile(r"""_attn_implementation\s*(==|!=|in\b|not in\b)[^\n]*["']sdpa["']""")


def twice_differentiable_sdpa(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """The attention function "sdpa" of transformers, with exact second derivatives (second_order/attention/).

    Registered as ``attn_implementation="twice_differentiable_sdpa"``. It needs no mode around the model, so that it is the same
    when gradient checkpointing calls it again.
    """
    with AttentionMode():
        output: tuple[Tensor, None] = sdpa_attention_forward(module, *args, **kwargs)
        return output


AttentionInterface.register(TWICE_DIFFERENTIABLE, twice_differentiable_sdpa)
AttentionMaskInterface.register(TWICE_DIFFERENTIABLE, sdpa_mask)


def use_differentiable_attention(model: nn.Module, layers: Iterable[str] = ()) -> None:
    """Switch fused attention, which has no double backward, to one that is fused and has.

    Models of transformers, also inside a wrapper and with configs of their parts, take ``twice_differentiable_sdpa``, which no
    config.json will name. Modules that call PyTorch's fused attention themselves, as timm's and torch.nn.MultiheadAttention,
    run in a mode. The eager implementation is for models that return their attention, or that do something of their own for
    "sdpa"; the latter is said once.

    Args:
        model: It is changed in place.
        layers: What is read of the model, ``Needs``' layers: its attention or a module inside timm's attention exist in the
            eager implementation only.

    Raises:
        ValueError: The model has an attention function of its own that cannot be differentiated twice; names it and the fix.
    """
    layers = tuple(layers)
    weights = any(map(is_attention, layers))
    for config, owners in _configs(model):
        _switch(config, owners, weights)
    for path, module in model.named_modules():
        inside = any(layer.startswith(f"{path}.") for layer in layers)
        if getattr(module, "fused_attn", False) is True and (weights or inside):
            module.fused_attn = False  # type: ignore[assignment]
    carry_attention_mode(model)


def _configs(model: nn.Module) -> Iterator[tuple[PreTrainedConfig, list[nn.Module]]]:
    """Each config that a module of transformers reads, with its readers, the models among them first."""
    found: dict[int, tuple[PreTrainedConfig, list[nn.Module]]] = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig) and type(module).__module__ in sys.modules:
            found.setdefault(id(config), (config, []))[1].append(module)
    for config, readers in found.values():
        yield config, sorted(readers, key=lambda module: not isinstance(module, PreTrainedModel))


def _switch(config: PreTrainedConfig, readers: list[nn.Module], weights: bool) -> None:
    name = config._attn_implementation
    chosen_when_built = any(isinstance(m, PreTrainedModel) and not m._can_set_attn_implementation() for m in readers)
    if name in (None, "eager") or chosen_when_built or any(hasattr(m, "timm_model") for m in readers):
        return
    wanted = "eager" if weights else TWICE_DIFFERENTIABLE
    if name == wanted:
        return
    function = _interface(readers[0]).get(name)
    if name != TWICE_DIFFERENTIABLE and not weights:
        if function not in _FUSED and "/" not in name:  # with a slash it is a kernel of the Hub
            return _refuse_once_differentiable(name, function, readers)
        if not all(map(_takes_ours, readers)):
            wanted = "eager"
            logger.warning_once(
                f"attn_implementation={name!r} has no double backward: the attention of {type(readers[0]).__name__} switched "
                "to the eager implementation. Load the model with attn_implementation='eager' to silence this."
            )
    config._attn_implementation_internal = wanted


def _interface(reader: nn.Module) -> AttentionInterface:
    # A model may have functions of its own under the names of transformers.
    return getattr(sys.modules[type(reader).__module__], "ALL_ATTENTION_FUNCTIONS", ALL_ATTENTION_FUNCTIONS)


def _takes_ours(reader: nn.Module) -> bool:
    """Whether the module does the same for any function as for "sdpa"."""
    if isinstance(reader, PreTrainedModel):
        try:
            reader.get_correct_attn_implementation(TWICE_DIFFERENTIABLE)
        except (ValueError, ImportError):
            return False
    if _interface(reader).get("sdpa") is not sdpa_attention_forward:
        return False
    try:
        return _ASKS_FOR_SDPA.search(inspect.getsource(sys.modules[type(reader).__module__])) is None
    except (OSError, TypeError):
        return False


def _refuse_once_differentiable(name: str, function: Callable[..., Any] | None, readers: list[nn.Module]) -> None:
    attending = [m for m in readers if not isinstance(m, PreTrainedModel) and "Attention" in type(m).__name__]
    module = attending[0] if attending else nn.Module()
    heads = 2 * getattr(module, "num_key_value_groups", 1)
    shapes = (1, heads, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)
    entries = [torch.linspace(-1, 1, 12 * shape[1]).double().mul(5 + n).sin() for n, shape in enumerate(shapes)]

    def attend(*inputs: Tensor) -> Any:
        with fast_double_backward():
            return function(module, *inputs, None, dropout=0.0, scaling=0.5)[0]  # type: ignore[misc]

    try:
        inputs = [t.reshape(shape).requires_grad_() for t, shape in zip(entries, shapes, strict=True)]
        gradgradcheck(attend, inputs, fast_mode=True)
    except Exception as error:  # a stranger's function may raise anything
        said = str(error).partition("\n")[0]
        raise ValueError(
            f"attn_implementation={name!r}, a function that was registered, has no exact second derivative ({said}); make it "
            "of operations that PyTorch differentiates twice, or load the model with attn_implementation='sdpa' or 'eager'."
        ) from error
