"""What families read off a model: symbolic layers from stages or blocks, whether a head is a plain Linear, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hf_guidance.views.layers import FINAL, MIDDLE


def spread(paths: Sequence[str]) -> dict[str, str]:
    """Name the stages: the last is "final", and "mid1" to "mid3" are spread evenly over those before it.

    Four stages are mid1, mid2, mid3 and final; of twelve blocks these are blocks 3, 6, 9 and 12. Nets with fewer than four
    stages have as many symbolic layers as stages: three stages are mid1, mid2 and final.

    Args:
        paths: Module paths in the order of the forward pass, at least one.

    Returns:
        Symbolic layer -> path.
    """
    count = min(len(paths), 4)
    positions = [round(len(paths) * (i + 1) / count) - 1 for i in range(count)]
    names = [*MIDDLE[: count - 1], FINAL]
    return {name: paths[position] for name, position in zip(names, positions, strict=True)}


def pair(size: Any) -> tuple[int, int]:
    """(height, width) of a size in a configuration: one number, a pair, or a mapping with "height" and "width"."""
    if isinstance(size, Mapping):
        side = size.get("shortest_edge")
        size = (size.get("height", side), size.get("width", side))
    height, width = (size, size) if isinstance(size, int | float) else (size[0], size[-1])
    return int(height), int(width)


def plain_mean(pool: Any) -> bool:
    """Whether a pool is exactly the mean over all places, without hooks, as closed forms of the gradient take it to be."""
    kinds = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
    return type(pool) in kinds and pool.output_size in (1, (1,), (1, 1)) and not hooked(pool)


def plain_linear(head: Any) -> bool:
    """Whether a head is exactly a Linear, without hooks or parametrisation, so that its gradient is a row of its weight.

    Any other head (an MLP, LoRA, weight normalisation) is differentiated by autograd instead.
    """
    return type(head) is nn.Linear and not is_parametrized(head) and not hooked(head)


def hooked(module: nn.Module) -> bool:
    """Whether hooks may change what the module takes or puts out."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
