"""A short text that two models share only if their weights are the same."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped

_COMPILED = "_orig_mod."  # torch.compile puts it before the names of the weights


def weights_digest(model: nn.Module) -> str:
    """The BLAKE2b digest of the names, types, shapes and numbers of ``state_dict()``: 32 hexadecimal digits.

    Wrappers (DistributedDataParallel, ``torch.compile``), the device and the mode of the model do not matter. A cast does: the
    model in another dtype is another model.

    Args:
        model: The model.

    Example:
        >>> weights_digest(model) == weights_digest(type(model).from_pretrained(folder))
        True
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(unwrapped(model).state_dict().items()):
        digest.update(name.removeprefix(_COMPILED).encode())
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"|{plain.dtype}|{tuple(plain.shape)}|".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        else:  # extra state, which a module may keep as it likes
            digest.update(f"|{value!r}|".encode())
    return digest.hexdigest()
