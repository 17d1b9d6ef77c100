"""What a model computes of the image alone is computed once per image, where several questions are about one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.checkpointing import checkpointing_off
from hf_guidance.data.columns import SAME_IMAGE
from hf_guidance.families import Family
from hf_guidance.views.layers import is_input, is_module


@contextmanager
def once_per_image(model: nn.Module, family: Family, batch: Mapping[str, Any], layers: Iterable[str]) -> Iterator[None]:
    """Inside, the modules of the image run on one row of each image, and give their output to all rows about it.

    Values and gradients are those of the ordinary call, in the first and in the second derivative: the gradients of the rows
    add up. With dropout in such a module, rows about one image share a draw. The modules are the family's
    ``image_modules``, paths of modules that see nothing but the image; a family without any calls the model as ever, and so
    does a batch without the column ``same_image``, or one in which every row has an image of its own.

    Args:
        model: The unwrapped model.
        family: The family of the model.
        batch: The columns of the batch. ``same_image`` is a list with a number for each row of the features.
        layers: The layers that are recorded. The gradient of the features, or of an output of those modules, belongs to
            single rows, so that all of them must run where one is read.

    Raises:
        ValueError: ``same_image`` has not one entry per row.
    """
    numbers, paths = batch.get(SAME_IMAGE), tuple(getattr(family, "image_modules", ()))
    rows = len(batch[family.features])
    if numbers is not None and len(numbers) != rows:
        raise ValueError(f"column {SAME_IMAGE!r} has {len(numbers)} entries, the batch {rows} rows; give one for each.")
    places: dict[int, int] = {}
    place = [places.setdefault(number, len(places)) for number in numbers or ()]
    if not paths or len(places) == len(place) or any(_is_within(layer, family, model, paths) for layer in layers):
        yield
        return
    device = batch[family.features].device
    every = torch.tensor(place, device=device)
    first = torch.tensor([place.index(image) for image in range(len(places))], device=device)
    handles = []
    for path in paths:
        module = model.get_submodule(path)
        handles += [
            module.register_forward_pre_hook(_before(rows, first), with_kwargs=True),
            module.register_forward_hook(_after(len(first), every), prepend=True),
        ]
    try:
        with checkpointing_off(model):  # a block that is computed again would not find the hooks
            yield
    finally:
        for handle in handles:
            handle.remove()


def _is_within(layer: str, family: Family, model: nn.Module, paths: tuple[str, ...]) -> bool:
    if is_input(layer):
        return True
    path = family.path(layer, model) if is_module(layer) else ""
    return any(path == module or path.startswith(f"{module}.") for module in paths)


def _before(rows: int, first: Tensor) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return _taken(args, rows, first), _taken(kwargs, rows, first)

    return hook


def _after(images: int, every: Tensor) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        return _taken(output, images, every)

    return hook


def _taken(value: Any, count: int, index: Tensor) -> Any:
    # Of tensors with ``count`` rows those of the index, wherever they are in lists, tuples and mappings.
    if isinstance(value, Tensor):
        return value.index_select(0, index) if value.dim() and len(value) == count else value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_taken(entry, count, index) for entry in value)
    if isinstance(value, dict):
        return {name: _taken(entry, count, index) for name, entry in value.items()}
    return value
