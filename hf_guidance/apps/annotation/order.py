"""The order that an annotator sees the images in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["drawn_order"]


def drawn_order(ids: Sequence[str], annotator: str, seed: int) -> npt.NDArray[np.int64]:
    """An order drawn for one annotator, the same for ever: no library's random numbers are in it, only a checksum of names.

    Args:
        ids: Names of the items, each once.
        annotator: Their name.
        seed: Another seed, another order.

    Returns:
        (items,) places in ``ids``, int64.
    """
    start = hashlib.blake2b(f"{seed}\0{annotator}\0".encode(), digest_size=16)
    keys = []
    for name in ids:
        digest = start.copy()
        digest.update(name.encode())
        keys.append(digest.digest())
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
