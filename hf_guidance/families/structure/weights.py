"""Random weights under which a net shows its structure."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_OWN_PLACE = 3.0
_RIM = 1e-6  # the rim of a wide kernel weighs next to nothing, but not nothing: what it reads is no part that a net leaves out


def random_weights(model: nn.Module) -> dict[str, Tensor]:
    """Random parameters for a model, of which none hides a path as 0 or 1e-6 does, and none makes activations vanish.

    With plain random weights every place of a deep net answers to the whole image alike. Trained nets are not so, and here,
    too, kernels have most of their weight in the middle, and what places have of their own, through residual connections,
    outweighs what attention and dense layers mix in.

    Args:
        model: The model; it stays as it is.

    Returns:
        Name of each floating-point parameter and of the running statistics of norms -> value, for functional_call.
    """
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            state[name] = _random(name, torch.randn(parameter.shape, generator=generator)).to(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            state[name] = torch.full_like(buffer, float(name.endswith("var")))
    return state


def _random(name: str, noise: Tensor) -> Tensor:
    if noise.dim() < 2:
        # Neither norms nor layer scale may hide a branch; a small layer scale keeps residual connections strong.
        return 0.1 * noise + (0.0 if "bias" in name else 1.0 if name.endswith("weight") else 0.3)
    if noise.dim() > 2 and noise[0, 0].numel() > 1:
        # Convolutions keep the variance (He et al., arXiv 1502.01852, eq. 10).
        bell = noise * _bell(tuple(noise.shape[2:]))
        kernel: Tensor = bell * (2 * len(bell) / bell.square().sum().clamp_min(1e-30)) ** 0.5
        return kernel
    value: Tensor = noise * (0.5 / noise[0].numel()) ** 0.5
    if name.endswith("attention_biases"):  # of LeViT and its kin: one for each distance, the first for none
        value[:, 0] += _OWN_PLACE
    return value


def _bell(kernel: tuple[int, ...]) -> Tensor:
    # An even kernel has two middles.
    total = torch.zeros(())
    for size in kernel:
        distance = (torch.arange(size) - (size - 1) / 2).abs() - (size % 2 == 0) / 2
        total = total[..., None] + distance**2
    return torch.exp(-total).clamp_min(_RIM)
