"""Wrappers around a model: those that spread it over processes or devices."""

from __future__ import annotations

from typing import Any

from torch import nn


def unwrapped(model: Any) -> Any:
    """The model inside DistributedDataParallel or DataParallel; any other model itself, whatever its submodules are called."""
    parallel = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    return model.module if isinstance(model, parallel) else model
