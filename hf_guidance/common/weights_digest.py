"""A short text that two models share only if their weights are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped

_COMPILED = "_orig_mod."  # torch.compile puts it before the names of the weights


def weights_digest(model: nn.Module, without: Collection[str] = ()) -> str:
    """The BLAKE2b digest of the names, types, shapes and numbers of ``state_dict()``: 32 hexadecimal digits.

    The channel mask of a pruned model, which is no tensor, counts as well.

    Wrappers (DistributedDataParallel, ``torch.compile``), the device and the mode of the model do not matter. A cast does: the
    model in another dtype is another model.

    Args:
        model: The model.
        without: Names of tensors that do not count.

    Example:
        >>> weights_digest(model) == weights_digest(type(model).from_pretrained(folder))
        True
    """
    digest = hashlib.blake2b(digest_size=16)
    module = unwrapped(model)
    for saved, value in sorted(module.state_dict().items()):
        name = saved.removeprefix(_COMPILED)
        if name in without:
            continue
        digest.update(name.encode())
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"|{plain.dtype}|{tuple(plain.shape)}|".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        else:  # extra state, which a module may keep as it likes
            digest.update(f"|{value!r}|".encode())
    mask: Any = getattr(getattr(module, "config", None), "channel_mask", None)
    if mask is not None:
        digest.update(json.dumps(mask, sort_keys=True).encode())
    return digest.hexdigest()
