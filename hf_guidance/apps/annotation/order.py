"""The order that an annotator sees the images in, and the sides on which they see two things that are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["drawn_order", "drawn_sides"]


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


def drawn_sides(order: npt.NDArray[np.int64], ids: Sequence[str], annotator: str, seed: int) -> npt.NDArray[np.bool_]:
    """Whether two things that are compared change places, for each item in the order that an annotator sees.

    Of the first two items one is drawn for the change, of the next two one again, and so on: whenever an annotator stops, each
    thing was on each side equally often, or once more.

    Args:
        order: (items,) places in ``ids``, as `drawn_order` gives them.
        ids: Names of the items.
        annotator: Their name.
        seed: Another seed, other sides.

    Returns:
        (items,) bool, in the order of ``order``.
    """
    sides = np.zeros(len(order), bool)
    for first in range(0, len(order), 2):
        told = f"{seed}\0{annotator}\0side\0{ids[order[first]]}".encode()
        drawn = bool(hashlib.blake2b(told, digest_size=1).digest()[0] & 1)
        sides[first : first + 2] = (drawn, not drawn)[: len(order) - first]
    return sides
