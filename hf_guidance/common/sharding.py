"""Models whose weights FSDP2 (``torch.distributed.fsdp.fully_shard``) spreads over processes, whole for the time of a step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def shards_of(model: Any) -> list[Any]:
    """The modules of a model that FSDP2 shards, the model itself first; empty for a model that is not sharded."""
    fsdp = sys.modules.get("torch.distributed.fsdp")  # whoever sharded the model has imported it, which takes a second
    if fsdp is None or not isinstance(model, nn.Module):
        return []
    return [module for module in model.modules() if isinstance(module, fsdp.FSDPModule)]


def is_sharded(model: Any) -> bool:
    """Whether FSDP2 spreads the weights of a model, or of a part of it, over processes."""
    return bool(shards_of(model))


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Inside, all weights are whole from the beginning: the model may be called by some of the processes only.

    All processes must enter and leave together. See ``kept_whole``.
    """
    with kept_whole(model):
        for shard in shards_of(model):
            shard.unshard()
        yield


@contextmanager
def kept_whole(model: nn.Module) -> Iterator[None]:
    """For one step: weights that a call inside gathers stay whole until the end of the block, where they are sharded again.

    FSDP2 frees the weights of a module after its forward and after its backward, and gathers them when they are used next. A
    gradient that is differentiated again has its own backward before the one of the loss, which would free weights that the
    second derivative still reads. And processes would wait for each other, as one whose images have no annotation makes fewer
    calls and backwards: inside, every weight is gathered once, by the first call of the model, which all make.

    The gradients of the loss are added up over processes here and now, also where an update has several batches: left for the
    last batch, they would be added up by whichever backward comes first there. Memory is that of ZeRO-2: gradients and the
    optimizer's state are sharded, weights are not.

    Args:
        model: A model that is sharded, all of it; one that is not is left alone.
    """
    shards = shards_of(model)
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
        shard.set_reshard_after_backward(False, recurse=False)
        shard.set_requires_gradient_sync(True, recurse=False)
    try:
        yield
    finally:
        for shard in shards:
            shard.reshard()
