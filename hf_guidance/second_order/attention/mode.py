"""Fused attention with second derivatives inside a ``with`` block, or wherever a module that calls it runs."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hf_guidance.second_order.attention.fused import fused_attention
from hf_guidance.second_order.attention.multi_head import multi_head_attention

_CALLED = {"scaled_dot_product_attention", "multi_head_attention_forward"}


class AttentionMode(TorchFunctionMode):
    """Inside, ``F.scaled_dot_product_attention`` is ``fused_attention``, also where torch.nn.MultiheadAttention calls it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return fused_attention(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            return multi_head_attention(fused_attention, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def carry_attention_mode(model: nn.Module) -> bool:
    """Have every module of a model that calls fused attention run inside of ``AttentionMode``, whoever calls it.

    So gradient checkpointing, which calls modules again in the backward and maybe in another thread, finds the same function
    there. A module calls it if the code of its class names it. The hooks travel with copies of the model.

    Returns:
        Whether there is such a module.
    """
    found = [module for module in model.modules() if _calls_attention(type(module))]
    for module in found:
        if _enter not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_enter, prepend=True)
            module.register_forward_hook(_leave, always_call=True)
    return bool(found)


def _calls_attention(kind: type[nn.Module]) -> bool:
    own = kind.__mro__[: kind.__mro__.index(nn.Module)]
    functions = [inspect.unwrap(value) for part in own for value in vars(part).values() if inspect.isfunction(value)]
    return any(_CALLED.intersection(function.__code__.co_names) for function in functions)


class _Open(threading.local):
    """Modules of this thread that are running, with the mode of each."""

    def __init__(self) -> None:
        self.stack: list[tuple[nn.Module, AttentionMode]] = []


_OPEN = _Open()


def _enter(module: nn.Module, args: Any) -> None:
    mode = AttentionMode()
    mode.__enter__()  # type: ignore[no-untyped-call]
    _OPEN.stack.append((module, mode))


def _leave(module: nn.Module, args: Any, output: Any) -> None:
    # Called after errors, too, also after one that came before _enter.
    if _OPEN.stack and _OPEN.stack[-1][0] is module:
        _OPEN.stack.pop()[1].__exit__(None, None, None)  # type: ignore[no-untyped-call]
