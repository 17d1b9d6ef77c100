"""Attention and its first backward by the library's fused kernels.

On a CPU these are the flash kernels (arXiv 2205.14135) of PyTorch, which give the log-sum-exp of the scores. On any other
device the forward is ``F.scaled_dot_product_attention`` with the kernel that it chooses, and the backward is computed in tiles:
each kernel there lays out its log-sum-exp in its own way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hf_guidance.second_order.attention.operands import Operands, precise, widened
from hf_guidance.second_order.attention.pattern import Pattern

ANY_KERNEL = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
]


def gives_log_sum_exp(q: Tensor) -> bool:
    """Whether the kernels of the device are known to give it as (batch, heads, queries)."""
    return q.device.type == "cpu"


def read_in_order(t: Tensor) -> Tensor:
    """Queries, keys or values whose last dimension has no gaps: the kernels of a CPU do not ask for its stride."""
    return t if t.stride(-1) == 1 or t.device.type != "cpu" else t.contiguous()


def attend(q: Tensor, k: Tensor, v: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor | None]:
    """Output (batch, heads, queries, dims), and the log-sum-exp (batch, heads, queries) where it is known well."""
    groups = q.shape[1] // k.shape[1]
    bias = pattern.additive(q.dtype)
    if gives_log_sum_exp(q):
        o, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, widened(k, groups), widened(v, groups), 0.0, pattern.causal, attn_mask=bias, scale=pattern.scale
        )
        # torch before 2.15 says float32 of it while a step is recorded, whatever it will be.
        return o, None if pattern.blurs() else lse.to(precise(q.dtype))
    if pattern.causal and bias is not None:
        bias = bias.masked_fill(torch.ones(q.shape[2], k.shape[2], device=q.device).triu(1).bool(), -torch.inf)
    with sdpa_kernel(ANY_KERNEL):
        o = F.scaled_dot_product_attention(
            q, k, v, bias, 0.0, pattern.causal and bias is None, scale=pattern.scale, enable_gqa=groups > 1
        )
    return o, None


def first_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor | None, pattern: Pattern
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients at ``q``, ``k`` and ``v``."""
    if lse is None:
        return tiled_backward(g, q, k, v, o, lse, pattern)
    groups = q.shape[1] // k.shape[1]
    dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        g, q, widened(k, groups), widened(v, groups), o, lse, 0.0, pattern.causal,
        attn_mask=pattern.additive(q.dtype), scale=pattern.scale,
    )  # fmt: skip
    if groups > 1:
        dk, dv = (t.unflatten(1, (-1, groups)).sum(2) for t in (dk, dv))
    return dq, dk, dv


def tiled_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor | None, pattern: Pattern
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``first_backward``, in tiles: ``dv = P' g, dS = P (g v' - D), dq = scale dS k, dk = scale dS' q``."""
    given = Operands.of(g, q, k, v, o, lse, pattern)
    dtype = precise(q.dtype)
    dq = torch.empty_like(given.q)
    dk, dv = torch.zeros_like(given.k, dtype=dtype), torch.zeros_like(given.v, dtype=dtype)
    with torch.autocast(q.device.type, enabled=False):
        for heads, tiles in pattern.tiles(len(given.q), q.shape[2], k.shape[2], given.tile_size):
            keys, values = given.k[heads].to(dtype), given.v[heads].to(dtype)
            for tile in tiles:
                near_k, near_v = keys[:, tile.keys], values[:, tile.keys]
                queries, gradient = (t[tile.heads, tile.queries].to(dtype) for t in (given.q, given.g))
                p = given.probabilities(queries, near_k, tile)
                dv[tile.heads, tile.keys].baddbmm_(p.mT, gradient)
                p.mul_(torch.baddbmm(given.mean[tile.heads, tile.queries], gradient, near_v.mT, beta=-1))
                dq[tile.heads, tile.queries] = torch.bmm(p, near_k).mul_(pattern.scale)
                dk[tile.heads, tile.keys].baddbmm_(p.mT, queries, alpha=pattern.scale)
    return given.parted(dq), given.of_groups(dk).to(k.dtype), given.of_groups(dv).to(v.dtype)
