"""FSDP2 of Accelerate on a CPU, for tests: Accelerate itself makes DistributedDataParallel of it there, without a word.

AcceleratorState reads the FSDP plugin for the kinds of several accelerators only. Here several CPUs count as such a kind; all
else is Accelerate's, transformers' and torch's own code, over gloo.
"""

from __future__ import annotations

from accelerate.state import PartialState
from accelerate.utils import DistributedType

_ordinary = PartialState.__init__


def _init(self, *args, **kwargs):
    _ordinary(self, *args, **kwargs)
    if self.distributed_type is DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


def shard_on_cpu() -> None:
    """From now on, in this process."""
    PartialState.__init__ = _init
