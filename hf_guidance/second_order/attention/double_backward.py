"""The double backward of softmax attention in closed form, computed in tiles.

With S = scale q k' + B, P = softmax(S), o = P v, g the gradient at o, sums over the keys of a query:
    X = g v',   D = sum(P X) = sum(g o),   dS = P (X - D)
    first backward:   dq = scale dS k,   dk = scale dS' q,   dv = P' g
double backward, (a, b, c) the gradients at (dq, dk, dv):
    T = scale (a k' + q b'),   W = P (T - sum(P T)),   R = (X - D) W + P (g c'),   Q = R - P sum(R)
    d g = W v + P c,   d v = W' g,   d q = scale (Q k + dS b),   d k = scale (Q' q + dS' a)
W is the tangent of P along (a, b), Q the gradient at S. P is computed again of each tile, so that memory grows with the
number of places and not with its square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hf_guidance.second_order.attention.operands import Operands, precise, widened
from hf_guidance.second_order.attention.pattern import Tile


def double_backward(a: Tensor, b: Tensor, c: Tensor, given: Operands) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``<a, dq> + <b, dk> + <c, dv>`` at g, q, k and v.

    Args:
        a: (batch, heads, queries, dims), the gradient at dq.
        b: (batch, key heads, keys, dims), at dk.
        c: As ``b``, at dv.
        given: The operands of the first backward.
    """
    sums = _Sums(given, *(widened(t, n).flatten(0, 1) for t, n in ((a, 1), (b, given.groups), (c, given.groups))))
    with torch.autocast(given.q.device.type, enabled=False):
        for heads, tiles in given.pattern.tiles(len(given.q), given.q.shape[1], given.k.shape[1], given.tile_size):
            sums.add(heads, tiles)
    return (
        given.parted(sums.at_g),
        given.parted(sums.at_q),
        given.of_groups(sums.at_k).to(given.k.dtype),
        given.of_groups(sums.at_v).to(given.v.dtype),
    )


class _Sums:
    """The four gradients, (batch * heads, places, dims), as they fill up tile by tile."""

    def __init__(self, given: Operands, a: Tensor, b: Tensor, c: Tensor) -> None:
        self.given, self.a, self.b, self.c = given, a, b, c
        self.dtype = precise(given.q.dtype)
        self.at_g, self.at_q = torch.empty_like(given.g), torch.empty_like(given.q)
        self.at_k, self.at_v = (torch.zeros_like(t, dtype=self.dtype) for t in (given.k, given.v))

    def add(self, heads: slice, tiles: list[Tile]) -> None:
        k, v, b, c = (t[heads].to(self.dtype) for t in (self.given.k, self.given.v, self.b, self.c))
        k_b = torch.cat([k, b], -1)
        for tile in tiles:
            self._add_tile(tile, *(t[:, tile.keys] for t in (k, v, b, c, k_b)))

    def _add_tile(self, tile: Tile, k: Tensor, v: Tensor, b: Tensor, c: Tensor, k_b: Tensor) -> None:
        given, scale = self.given, self.given.pattern.scale
        rows, columns = (tile.heads, tile.queries), (tile.heads, tile.keys)
        a, q, g = (t[rows].to(self.dtype) for t in (self.a, given.q, given.g))
        p = given.probabilities(q, k, tile)
        x = torch.baddbmm(given.mean[rows], g, v.mT, beta=-1)  # X - D
        w = torch.bmm(torch.cat([a, q], -1).mul_(scale), k_b.mT).mul_(p)  # P T
        w.addcmul_(p, w.sum(-1, keepdim=True), value=-1)  # W
        self.at_g[rows] = torch.bmm(w, v).baddbmm_(p, c)
        self.at_v[columns].baddbmm_(w.mT, g)
        w.mul_(x).addcmul_(p, torch.bmm(g, c.mT))  # R
        w.addcmul_(p, w.sum(-1, keepdim=True), value=-1)  # Q
        x.mul_(p)  # dS
        self.at_q[rows] = torch.bmm(w, k).baddbmm_(x, b).mul_(scale)
        self.at_k[columns].baddbmm_(w.mT, q, alpha=scale).baddbmm_(x.mT, a, alpha=scale)
