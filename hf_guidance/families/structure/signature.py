"""What the forward of a model takes."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

from torch import nn

from hf_guidance.data.columns import EXPLAINED_ROW_COLUMNS

PIXELS = "pixel_values"
# What a batch holds for the library, whatever a model may mean by an argument of that name.
_OWN = frozenset(EXPLAINED_ROW_COLUMNS)


def inner(model: nn.Module) -> nn.Module:
    """The model itself, or the one inside PEFT's wrapper."""
    base: Any = getattr(model, "get_base_model", None)
    return base() if callable(base) else model


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Module path -> module; what FSDP2 computes anew in the backward is wrapped (CheckpointWrapper) and keeps its path."""
    named = inner(model).named_modules()
    return {name.replace("._checkpoint_wrapped_module", ""): module for name, module in named if name}


def takes_pixels(model: Any) -> bool:
    """Whether the model's forward has an argument ``pixel_values``, so that its input is an image."""
    return PIXELS in _parameters(model)


def required_labels(model: nn.Module) -> list[str]:
    """Arguments for labels without which the forward cannot be called."""
    return [name for name, argument in _parameters(model).items() if "label" in name and _required(argument)]


def columns_of(model: nn.Module) -> tuple[str, ...]:
    """All that the forward takes, as far as a batch may have it.

    Columns that the library reads itself and switches of the outputs are left out, and so are labels, because the trainer
    computes the loss; those that the forward cannot do without are kept.
    """
    switch = ("return_", "output_")
    return tuple(
        name
        for name, argument in _parameters(model).items()
        if _required(argument) or not ("label" in name or name in _OWN or name.startswith(switch))
    )


def refuse_unknown_features(model: nn.Module, features: str) -> None:
    """Raise for a model whose forward cannot be given its features by name.

    Raises:
        ValueError: The forward has no such argument; the message shows the wrapper that gives it one.
    """
    forward: Any = inner(model).forward
    names, any_name = _names(getattr(forward, "__func__", forward))
    if features not in names and not any_name:
        raise ValueError(
            f"the forward of {type(model).__name__} has no argument {features!r}, by which it is called; it has "
            f"{list(names)}. Wrap the model:\n"
            f"    class Named(torch.nn.Module):\n"
            f"        def __init__(self, net): super().__init__(); self.net = net\n"
            f"        def forward(self, {features}): return {{'logits': self.net({features})}}"
        )


@lru_cache(maxsize=256)
def _names(forward: Any) -> tuple[tuple[str, ...], bool]:
    """Names of a function's arguments but self, and whether it takes any other; kept, because every step asks."""
    given = inspect.signature(forward).parameters
    return tuple(name for name in given if name != "self"), any(p.kind is p.VAR_KEYWORD for p in given.values())


def _parameters(model: Any) -> dict[str, inspect.Parameter]:
    forward = getattr(inner(model), "forward", None)
    given = inspect.signature(forward).parameters if forward is not None else {}
    return {
        name: argument
        for name, argument in given.items()
        if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
    }


def _required(argument: inspect.Parameter) -> bool:
    return argument.default is argument.empty
