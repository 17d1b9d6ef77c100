"""The global generators of random numbers, left as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def generators_kept(devices: Sequence[Any] = ()) -> Iterator[None]:
    """Draws inside the ``with`` block change none outside: of Python, NumPy and torch, whose state is as it was afterwards.

    Args:
        devices: GPUs whose generators are kept too.
    """
    own, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(own)
            np.random.set_state(of_numpy)  # noqa: NPY002
