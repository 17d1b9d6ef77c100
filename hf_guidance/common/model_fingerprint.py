"""A fingerprint of a model: what is computed from one model is not taken for that of another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

import torch
from torch import nn


def model_fingerprint(model: nn.Module, without: Collection[str] = ()) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all saved tensors, and the channel mask of the configuration.

    Args:
        model: The unwrapped model.
        without: Names of tensors that do not count.

    Returns:
        64 hexadecimal digits; the same on every device.
    """
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if name in without or not isinstance(value, torch.Tensor):
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    mask: Any = getattr(getattr(model, "config", None), "channel_mask", None)
    digest.update(json.dumps(mask, sort_keys=True).encode())
    return digest.hexdigest()
