"""Random weights under which no path through a net is hidden: none is zero, and every BatchNorm fits its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_SPREAD = 0.1
_ATTENTION = 0.2
_OWN_PLACE = 3.0
_FAINT = 0.1


@torch.no_grad()
def open_every_path(model: nn.Module, seed: int = 1) -> None:
    """Spread parameters that are constant, such as biases, layer scales of 1e-6 and heads of zero; in place.

    Of random weights every place of a deep net answers to the whole image alike, and nothing could be located. So convolutions
    get most of their weight in the middle of the kernel, as trained ones have, and attention adds little to its residual.
    """
    generator = torch.Generator().manual_seed(seed)
    for norm in (module for module in model.modules() if "Norm" in type(module).__name__):
        weight = getattr(norm, "weight", None)
        if isinstance(weight, Tensor) and 0 < float(weight.abs().mean()) < _FAINT:
            weight.add_(1)  # where transformers begins with noise around zero, the signal is lost within few blocks
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
            scale = _SPREAD if parameter.dim() < 2 else min(_SPREAD, (len(parameter) / parameter.numel()) ** 0.5)
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        if name.endswith("attention_biases"):  # of LeViT and its kin, one for each distance, the first for no distance
            parameter[:, 0] += _OWN_PLACE
    for convolution in (module for module in model.modules() if isinstance(module, nn.Conv2d)):
        _focus(convolution)
    for attention in _attentions(model):
        last = [leaf for leaf in attention.modules() if isinstance(getattr(leaf, "weight", None), nn.Parameter)][-1:]
        for parameter in (p for leaf in last for p in leaf.parameters(recurse=False)):
            parameter.mul_(_ATTENTION)


def _focus(convolution: nn.Conv2d) -> None:
    weight = convolution.weight
    # Outputs as large as inputs, or more: transformers begins with weights so small that in narrow nets the signal is lost.
    size = max(float(weight.norm()), len(weight) ** 0.5)
    # A kernel as wide as its stride cuts the image into patches, all of which belong to their place.
    if any(k > s for k, s in zip(convolution.kernel_size, convolution.stride, strict=True)):
        weight.mul_(_bell(*convolution.kernel_size))
    weight.mul_(size / weight.norm().clamp_min(1e-12))


def _attentions(module: nn.Module) -> Iterator[nn.Module]:
    # The outermost of modules that are called so.
    for child in module.children():
        if any(word in type(child).__name__ for word in ("Attn", "Attention", "MLA")):
            yield child
        else:
            yield from _attentions(child)


def _bell(height: int, width: int) -> Tensor:
    # An even kernel has two middles.
    down, across = (((torch.arange(n) - (n - 1) / 2).abs() - (n % 2 == 0) / 2) for n in (height, width))
    return torch.exp(-(down[:, None] ** 2 + across**2))


@torch.no_grad()
def fit_norms(model: nn.Module, columns: Mapping[str, Tensor]) -> None:
    """Set the running statistics of every BatchNorm to those of some images: others may explode in a net of random weights.

    Args:
        model: In evaluation mode.
        columns: What its forward takes.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        model(**columns)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.eval()
        norm.momentum = momentum
