"""The global random number generators of Python, NumPy and torch, left as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def generators_kept(device: torch.device | None = None, seed: int | None = None) -> Iterator[None]:
    """After the ``with`` block, the global generators go on as if it had not run.

    Args:
        device: An accelerator whose generator is kept, too; None or the CPU for that of the CPU only.
        seed: When given, the generators begin the block with it, so that it draws alike each time.

    Example:
        >>> with generators_kept(seed=0):
        ...     row = dataset[3]  # a transform may crop at random
    """
    own, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    of_mps = torch.mps.get_rng_state() if device is not None and device.type == "mps" else None
    forked = {} if device is None or device.type in ("cpu", "mps") else {"device_type": device.type}
    with torch.random.fork_rng(devices=[device] if forked else [], **forked):
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
                torch.default_generator.manual_seed(seed)
                if device is not None and device.type != "cpu":
                    torch.manual_seed(seed)  # of all devices; that of the others is not put back
            yield
        finally:
            random.setstate(own)
            np.random.set_state(of_numpy)  # noqa: NPY002
            if of_mps is not None:
                torch.mps.set_rng_state(of_mps)
