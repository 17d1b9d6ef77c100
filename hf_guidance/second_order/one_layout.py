"""Gradient and input of a BatchNorm in one memory layout, where PyTorch's CPU kernel takes one for the other.

The stride of the images says nothing where there is one. A view such as ``(places, channels).T``, of attention behind the
norm, then counts as channels last in one check of ``native_batch_norm_backward`` and as contiguous in the next, and its
numbers are read in the wrong order (torch 2.15, CPU, all dtypes). InstanceNorm runs the same kernel on all its images as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from hf_guidance.second_order.plain_tensors import PLAIN


def in_one_layout(dy: Tensor, x: Tensor) -> Tensor:
    """The gradient at the output in the layout of the input, if there is one image and their strides differ.

    Args:
        dy: The gradient at the output, (images, channels, ...).
        x: The input, of the same shape.
    """
    return dy if len(x) > 1 else _laid_out(dy, _strides_like(x))


def norms_in_one_layout(model: nn.Module, images: int) -> AbstractContextManager[Any]:
    """Run a forward pass whose gradients are taken once: those of BatchNorm and InstanceNorm are right inside.

    ``fast_double_backward`` sees to it by itself. Where neither can be wrong nothing needs to be done, and nothing is.

    Args:
        model: BatchNorm can be wrong for one image, InstanceNorm for any number.
        images: How many images the call holds.
    """
    found = images == 1 or any(isinstance(module, _InstanceNorm) for module in model.modules())
    return _OneLayout() if found else nullcontext()


class _OneLayout(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return norm_in_one_layout(func, args, kwargs or {})


def norm_in_one_layout(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What a function gives; if it is a norm, the gradient that reaches its output is laid out as the kernel reads it."""
    result = func(*args, **kwargs)
    x: Any = args[0] if args else kwargs.get("input")
    if func is F.batch_norm and type(result) in PLAIN and len(result) == 1:
        _lay_gradient_out(result, _strides_like(x))
    return instance_norm_in_one_layout(result) if func is F.instance_norm else result


def instance_norm_in_one_layout(y: Tensor) -> Tensor:
    """The output of an InstanceNorm; the gradient that reaches it is laid out as the kernel reads it."""
    if type(y) in PLAIN and y.dim() > 2:
        _lay_gradient_out(y, torch.empty(y.shape, device="meta").stride())
    return y


def _lay_gradient_out(y: Tensor, strides: tuple[int, ...]) -> None:
    if y.requires_grad:
        # A hook gets None where nothing of the output is read.
        y.register_hook(lambda dy: None if dy is None else _laid_out(dy, strides))


def _strides_like(x: Tensor) -> tuple[int, ...]:
    # Those of x, unless it is an expanded tensor or has gaps.
    return torch.empty_like(x, device="meta").stride()


def _laid_out(dy: Tensor, strides: tuple[int, ...]) -> Tensor:
    if dy.stride() == strides:
        return dy
    return torch.empty_strided(dy.shape, strides, dtype=dy.dtype, device=dy.device).copy_(dy)
