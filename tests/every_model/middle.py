"""The path of a module in the middle of a net, by a rule that looks at what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def middle_path(model: nn.Module, columns: Mapping[str, Tensor]) -> str:
    """The first block of the middle stage, or the middle block where there are no stages.

    Stages or blocks are modules in a list that run once and put out maps or tokens. Of their classes the one with the fewest
    members is taken that has three or more and together half of the parameters; then the middle member, in the order in
    which they run, and inside it the first such module that lies highest.

    Args:
        model: In evaluation mode.
        columns: What its forward takes, few images.
    """
    ran = _ran_once(model, columns)
    listed = [path for path in ran if _in_list(model, path) and list(model.get_submodule(path).children())]
    total = sum(parameter.numel() for parameter in model.parameters())
    classes: dict[type, list[str]] = {}
    for path in listed:
        classes.setdefault(type(model.get_submodule(path)), []).append(path)
    large = [paths for paths in classes.values() if len(paths) > 2 and 2 * _size(model, paths) >= total]
    if not large:
        candidates = listed or ran
        return candidates[len(candidates) // 2]
    paths = min(large, key=len)
    middle = paths[len(paths) // 2]
    inside = [path for path in listed if path.startswith(f"{middle}.")]
    return min(inside, key=lambda path: path.count("."), default=middle)


@torch.no_grad()
def _ran_once(model: nn.Module, columns: Mapping[str, Tensor]) -> list[str]:
    # In the order in which they finish; a stage comes after its blocks.
    order: list[str] = []

    def note(path: str, output: object) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(first, Tensor) and first.is_floating_point() and first.dim() > 2:
            order.append(path)

    handles = [
        module.register_forward_hook(lambda m, args, output, path=path: note(path, output))
        for path, module in model.named_modules()
        if path
    ]
    try:
        model(**columns)
    finally:
        for handle in handles:
            handle.remove()
    counts = Counter(order)
    return [path for path in order if counts[path] == 1]


def _in_list(model: nn.Module, path: str) -> bool:
    parent = model.get_submodule(path.rpartition(".")[0])
    return isinstance(parent, nn.ModuleList | nn.Sequential)


def _size(model: nn.Module, paths: list[str]) -> int:
    return sum(parameter.numel() for path in paths for parameter in model.get_submodule(path).parameters())
