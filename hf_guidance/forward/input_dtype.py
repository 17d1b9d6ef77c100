"""Inputs in the dtype of the model's weights: collators give float32, whatever the model was loaded in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def inputs_cast(model: nn.Module) -> Iterator[None]:
    """Calls inside cast the floating-point arguments of the model to the dtype of its first floating-point parameter.

    The cast is part of the graph: an input that is differentiated keeps its dtype, and so does its gradient. Arguments are
    those given by keyword. A model without such a parameter is called as it is.

    Args:
        model: The unwrapped model.
    """
    dtype = next((p.dtype for p in model.parameters() if p.dtype in _FLOATING), None)

    def cast(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {name: _to(value, dtype) for name, value in kwargs.items()}

    handle = model.register_forward_pre_hook(cast, with_kwargs=True) if dtype is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


# Not the eight-bit types of quantised weights, whose layers take another dtype than their own.
_FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def _to(value: Any, dtype: torch.dtype | None) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.dtype in _FLOATING else value
