"""The mode in which operations of a forward pass are replaced by functions with a double backward written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from hf_guidance.second_order.attention import fused_attention, multi_head_attention, takes_whole_matrices
from hf_guidance.second_order.autocast import autocast
from hf_guidance.second_order.batch_norm import FixedBatchNorm
from hf_guidance.second_order.convolution import Convolution, Geometry
from hf_guidance.second_order.gelu import Gelu
from hf_guidance.second_order.hard_sigmoid import HardSigmoid
from hf_guidance.second_order.layer_norm import LayerNorm
from hf_guidance.second_order.one_layout import instance_norm_in_one_layout, norm_in_one_layout
from hf_guidance.second_order.plain_tensors import PLAIN
from hf_guidance.second_order.relu import Relu
from hf_guidance.second_order.training_batch_norm import TrainingBatchNorm


@contextmanager
def fast_double_backward(leaf: Tensor | None = None, *, later: bool = False) -> Iterator[Callable[[], None]]:
    """Run a forward pass whose gradients will be differentiated again.

    Inside, convolution, LayerNorm, exact GELU, ReLU, hard sigmoid, normalize and BatchNorm become functions with the same
    values, whose backward can be differentiated again, for most of them by a backward written by hand. Both are made of
    PyTorch's own kernels:

        d/dx:    dx = J(x, w)^T dy
        again:   for u at dx:  d dy = J u,  d w = d<u, dx>/dw,  d x = d<u, dx>/dx

    Fused attention stays fused, with a double backward in closed form (``attention/``); torch.nn.MultiheadAttention's, too.
    Inside of ``fused_kernels`` the double backwards of GELU and LayerNorm are compiled. Where a substitute does not cover the
    arguments (other types, shapes, modes), the ordinary operation runs.
    Differentiate the outputs inside ``first_derivative``. Outside of it gradients are right too, but those that are
    differentiated again (``create_graph``) are only as fast as autograd's.

    Args:
        leaf: The explained input. Outside ``first_derivative`` nobody reads its gradient, so it is not computed there.
        later: Whether to wait: what runs before the explained activation is there takes part in no second derivative. Nothing
            that runs before the waiting ends may read that activation.

    Yields:
        A function that ends the waiting; without ``later`` there is nothing to wait for.
    """
    mode = _Substitution(leaf)
    with ExitStack() as stack, mode:
        # Put back at the end, also where the waiting ends inside of the model's own choice of kernels.
        stack.enter_context(sdpa_kernel(_kernels()))

        def begin() -> None:
            if mode.waits:
                mode.waits = False
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))

        if not later:
            begin()
        yield begin


def _kernels() -> list[SDPBackend]:
    on = torch.backends.cuda
    allowed = {
        SDPBackend.MATH: on.math_sdp_enabled(),
        SDPBackend.FLASH_ATTENTION: on.flash_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: on.mem_efficient_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: on.cudnn_sdp_enabled(),
    }
    return [kernel for kernel, enabled in allowed.items() if enabled]


class _Substitution(TorchFunctionMode):
    def __init__(self, leaf: Tensor | None) -> None:
        super().__init__()
        self._leaf = leaf
        self.waits = True

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.waits:
            return norm_in_one_layout(func, args, kwargs)
        if func in _SUBSTITUTES and torch.is_grad_enabled():
            result = _SUBSTITUTES[func](self._leaf, *args, **kwargs)
            if result is not None:
                return result
        return func(*args, **kwargs)


def _plain(*tensors: Any) -> bool:
    return all(t is None or (type(t) in PLAIN and t.is_floating_point()) for t in tensors)


def _usable(x: Any, *parameters: Any) -> bool:
    if not (_plain(x, *parameters) and x.requires_grad and x.layout == torch.strided):
        return False
    # Under saved-tensor hooks (gradient checkpointing) the forward pass is run again outside of this mode, and must save
    # the same tensors as the first time.
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is None


def _leaf(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.is_leaf


def _convolution(
    leaf: Tensor | None, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor | None:  # fmt: skip
    if not _usable(input, weight, bias) or input.dim() != weight.dim():
        return None
    n = weight.dim() - 2
    dilation = _each(dilation, n)
    if isinstance(padding, str):
        reach = [d * (size - 1) for d, size in zip(dilation, weight.shape[2:], strict=True)]
        if padding == "same" and (any(r % 2 for r in reach) or set(_each(stride, n)) != {1}):
            return None
        padding = [r // 2 for r in reach] if padding == "same" else 0
    geometry = Geometry(_each(stride, n), _each(padding, n), dilation, groups)
    skip = (input is leaf, weight.is_leaf, _leaf(bias))
    device = input.device.type
    x, w, b = autocast(input, device), autocast(weight, device), None if bias is None else autocast(bias, device)
    if x.dtype != w.dtype or (b is not None and b.dtype != w.dtype):
        return None  # the ordinary operation raises the error
    y: Tensor = Convolution.apply(x, w, b, geometry, skip)
    return y


def _each(value: Any, count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values


def _layer_norm(
    leaf: Any, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor | None:  # fmt: skip
    if weight is None or bias is None or not _usable(input, weight, bias) or _mixed(input, weight, bias):
        return None
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    y: Tensor = LayerNorm.apply(input, shape, weight, bias, eps, (weight.is_leaf, bias.is_leaf))
    return y


def _mixed(x: Tensor, *others: Tensor | None) -> bool:
    types = {t.dtype for t in (x, *others) if t is not None}
    return len(types) > 1 or torch.is_autocast_enabled(x.device.type)


def _gelu(leaf: Any, input: Any, *, approximate: str = "none") -> Tensor | None:
    if approximate != "none" or not _usable(input):
        return None
    y: Tensor = Gelu.apply(input)
    return y


def _relu(leaf: Any, input: Any, inplace: bool = False) -> Tensor | None:
    if not _usable(input) or (inplace and (input.is_leaf or input._is_view())):
        return None
    y: Tensor = Relu.apply(input, inplace)
    return y


def _hard_sigmoid(leaf: Any, input: Any, inplace: bool = False, out: Any = None) -> Tensor | None:
    # Under gradient checkpointing, too, since the ordinary one cannot be differentiated again at all.
    if (
        out is not None
        or not (_plain(input) and input.requires_grad)
        or (inplace and (input.is_leaf or input._is_view()))
    ):
        return None
    y: Tensor = HardSigmoid.apply(input, inplace)
    return y


def _normalize(
    leaf: Any, input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None
) -> Tensor | None:
    # Of a vector of zeros, such as the padding of a window, the norm's own second derivative is NaN.
    if p != 2.0 or out is not None or not (_plain(input) and input.requires_grad):
        return None
    exact = input.to(torch.promote_types(input.dtype, torch.float32))  # in float16 the squares of 256 overflow
    square = exact.square().sum(dim, keepdim=True)
    least = torch.full_like(square, max(eps**2, torch.finfo(square.dtype).tiny))
    y: Tensor = exact / torch.where(square > least, square, least).sqrt()
    return y.to(input.dtype)


def _batch_norm(
    leaf: Any, input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor | None:  # fmt: skip
    if not _usable(input, weight, bias) or _mixed(input, weight, bias, running_mean, running_var):
        return None
    leaves, running = (_leaf(weight), _leaf(bias)), (running_mean, running_var)
    if training:
        if input.numel() <= input.shape[1] or sum(t is None for t in running) == 1:
            return None  # the ordinary operation raises the error
        y: Tensor = TrainingBatchNorm.apply(input, weight, bias, running, momentum, eps, leaves)
        return y
    if any(t is None for t in running):
        return None
    y = FixedBatchNorm.apply(input, weight, bias, running_mean, running_var, eps, leaves)
    return y


def _instance_norm(leaf: Any, *args: Any, **kwargs: Any) -> Tensor:
    return instance_norm_in_one_layout(F.instance_norm(*args, **kwargs))


def _attention(leaf: Any, *args: Any, **kwargs: Any) -> Tensor | None:
    if takes_whole_matrices():
        return None
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    recorded = any(isinstance(value, Tensor) and value.requires_grad for value in (*args, *kwargs.values()))
    if recorded and hooks is not None and hooks[0].__module__ == checkpoint.__module__:
        raise ValueError(
            "fused attention inside gradient checkpointing: it would be called again outside of this mode, where it has no "
            "second derivative. Switch the model first, by use_differentiable_attention of hf_guidance.training.attention, set "
            "its attention to the eager implementation, or turn gradient checkpointing off."
        )
    return fused_attention(*args, **kwargs)


def _multi_head_attention(leaf: Any, *args: Any, **kwargs: Any) -> Any:
    return multi_head_attention(partial(_attention, leaf), *args, **kwargs)


_SUBSTITUTES: dict[Any, Callable[..., Any]] = {
    F.conv1d: _convolution,
    F.conv2d: _convolution,
    F.conv3d: _convolution,
    F.layer_norm: _layer_norm,
    F.gelu: _gelu,
    F.relu: _relu,
    F.hardsigmoid: _hard_sigmoid,
    torch._C._nn.hardsigmoid: _hard_sigmoid,
    torch._C._nn.hardsigmoid_: partial(_hard_sigmoid, inplace=True),
    F.normalize: _normalize,
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
}
