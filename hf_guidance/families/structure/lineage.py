"""Lineage: which tensors of one forward pass are made from which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class Lineage:
    """Which of some tensors are made from which others, read off the autograd graph of the logits.

    Args:
        logits: With their graph.
        tensors: Tensors of the same forward pass, with their graph.
    """

    def __init__(self, logits: Tensor, tensors: Sequence[Tensor]) -> None:
        self._nodes = [tensor.grad_fn for tensor in tensors]
        bits: dict[Any, int] = {}
        for index, node in enumerate(self._nodes):
            bits[node] = bits.get(node, 0) | 1 << index
        self._own = bits
        self._known = _sources(logits.grad_fn, bits)

    def beside(self, index: int) -> int | None:
        """The number of a tensor that is neither made from tensor ``index`` nor the other way round; None if there is none."""
        node = self._nodes[index]
        before = self._known.get(node, 0)
        for other, candidate in enumerate(self._nodes):
            if candidate is node or candidate not in self._known or before >> other & 1:
                continue
            if not self._known[candidate] & self._own[node]:
                return other
        return None


def _sources(root: Any, bits: dict[Any, int]) -> dict[Any, int]:
    """Node -> the bits of all nodes from which it is made, its own included; depth first, without recursion."""
    known: dict[Any, int] = {}
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if node is None or node in known:
            continue
        inputs = [before for before, _ in node.next_functions if before is not None]
        if ready:
            total = bits.get(node, 0)
            for before in inputs:
                total |= known[before]
            known[node] = total
        else:
            stack.append((node, True))
            stack.extend((before, False) for before in inputs)
    return known
