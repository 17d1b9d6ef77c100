"""Random weights under which no path through a net is hidden: none is zero, and every BatchNorm fits its input."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_SPREAD = 0.1


@torch.no_grad()
def open_every_path(model: nn.Module, seed: int = 1) -> None:
    """Spread parameters that are constant, such as biases, layer scales of 1e-6 and heads of zero; in place."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
            scale = _SPREAD if parameter.dim() < 2 else min(_SPREAD, (len(parameter) / parameter.numel()) ** 0.5)
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


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
