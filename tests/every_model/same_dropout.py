"""A mode in which dropout drops the same numbers whatever the memory layout of its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class SameDropout(TorchFunctionMode):
    """PyTorch's own draws in the order of the memory, which an attention before it may change."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return (_dropout if func is F.dropout else func)(*args, **(kwargs or {}))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0:
        return input
    factor = torch.empty(input.shape, dtype=input.dtype).bernoulli_(1 - p).div_(1 - p)
    return input.mul_(factor) if inplace else input * factor
