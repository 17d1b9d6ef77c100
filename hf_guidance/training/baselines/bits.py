"""Booleans as bits, eight in a byte."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def packed(flags: Tensor) -> Tensor:
    """(rows, n) bool as (rows, ceil(n / 8)) uint8, the first in the lowest bit."""
    padded = F.pad(flags.to(torch.uint8), (0, -flags.shape[1] % 8)).unflatten(1, (-1, 8))
    places = torch.arange(8, device=flags.device, dtype=torch.uint8)
    return torch.sum(padded << places, -1).to(torch.uint8)


def unpacked(packed: Tensor, count: int) -> Tensor:
    """Undo ``packed``: (rows, count) bool."""
    places = torch.arange(8, device=packed.device, dtype=torch.uint8)
    return ((packed[..., None] >> places) & 1).flatten(1)[:, :count].bool()
