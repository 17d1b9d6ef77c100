"""Gradient checkpointing, off for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

SWITCHES = ("gradient_checkpointing", "grad_checkpointing")  # names in transformers, in timm


@contextmanager
def checkpointing_off(model: nn.Module) -> Iterator[None]:
    """Inside the ``with`` block no block of the model is computed again in the backward; afterwards all is as it was."""
    # Switched on, they are attributes of the module itself; to ask nn.Module for one that is absent is slow.
    switches = [(module, name) for module in model.modules() for name in SWITCHES if vars(module).get(name) is True]
    for module, name in switches:
        setattr(module, name, False)
    try:
        yield
    finally:
        for module, name in switches:
            setattr(module, name, True)
