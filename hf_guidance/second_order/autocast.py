"""What autocast does to the inputs of an operation that it runs in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def autocast(tensor: Tensor, device: str) -> Tensor:
    """Cast float32 and half precision to the dtype of the running autocast; float64 and everything outside of it stay."""
    if not torch.is_autocast_enabled(device) or tensor.dtype == torch.float64 or tensor.device.type != device:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))
