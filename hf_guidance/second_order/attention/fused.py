"""``F.scaled_dot_product_attention`` whose gradients can be differentiated once more."""

from __future__ import annotations

import functools
import logging
import math
import threading

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hf_guidance.second_order.attention.function import Attention
from hf_guidance.second_order.attention.kernels import ANY_KERNEL, read_in_order
from hf_guidance.second_order.autocast import autocast
from hf_guidance.second_order.plain_tensors import PLAIN

_logger = logging.getLogger(__name__)


class _Whole(threading.local):
    matrices = False


_WHOLE = _Whole()


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Softmax attention with exact second derivatives: ``softmax(scale q k' + B) v``.

    The arguments are those of ``F.scaled_dot_product_attention``. Forward and first backward are its fused kernels (arXiv
    2205.14135), the double backward is a closed form that is computed in tiles, so that memory grows with the number of places
    and not with its square. Where it is not covered, attention is made of whole matrices (PyTorch's MATH backend), which is
    said once: dropout, a mask that has a gradient, values of another size than keys, tensor subclasses, transforms of
    ``torch.func``.

    Args:
        query: (..., heads, queries, dims), float64 to bfloat16.
        key: (..., heads, keys, dims), with ``enable_gqa`` of fewer heads.
        value: As ``key``.
        attn_mask: Broadcasts against (..., heads, queries, keys): boolean (True: attend), or added to the scores.
        dropout_p: Share of the probabilities that is dropped.
        is_causal: Whether query i sees the keys 0 to i alone.
        scale: Factor of the products, by default ``1 / sqrt(dims)``.
        enable_gqa: Whether several query heads may share a key head.

    Returns:
        (..., heads, queries, dims). A query that may attend to nothing, by a boolean mask or minus infinity, gets zeros.
    """
    given = query, key, value, attn_mask
    options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)):
        with sdpa_kernel(ANY_KERNEL):
            return F.scaled_dot_product_attention(*given, **options)  # type: ignore[arg-type]
    reason = _uncovered(query, key, value, attn_mask, dropout_p)
    if reason is None:
        device = query.device.type
        query, key, value = (autocast(t, device) for t in (query, key, value))
        if attn_mask is not None and attn_mask.dtype != torch.bool:
            attn_mask = autocast(attn_mask, device)
        if _consistent(query, key, value, attn_mask, is_causal, enable_gqa):
            return _attend(query, key, value, attn_mask, is_causal, scale)
    else:
        _say(reason)
    _WHOLE.matrices = True
    try:
        with sdpa_kernel(SDPBackend.MATH):  # of arguments that do not fit together it raises the error
            return F.scaled_dot_product_attention(*given, **options)  # type: ignore[arg-type]
    finally:
        _WHOLE.matrices = False


def takes_whole_matrices() -> bool:
    """Whether ``fused_attention`` is calling PyTorch's own function now, which no mode around it may replace."""
    return _WHOLE.matrices


def _uncovered(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> str | None:
    tensors = [t for t in (query, key, value, mask) if t is not None]
    if any(type(t) not in PLAIN or t.layout != torch.strided for t in tensors):
        return "tensor subclasses"
    if torch._C._are_functorch_transforms_active():
        return "transforms of torch.func"
    if dropout > 0:
        return "dropout"
    if mask is not None and mask.requires_grad:
        return "a mask that has a gradient, as a learned bias"
    if query.shape[-1] != value.shape[-1]:
        return "values of another size than keys"
    return None


@functools.cache
def _say(reason: str) -> None:
    _logger.warning(
        "attention with %s: second derivatives are taken through whole matrices of scores, whose memory grows with the "
        "square of the number of places.",
        reason,
    )


def _consistent(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, grouped: bool) -> bool:
    floats = query, key, value, *([mask] if mask is not None and mask.dtype != torch.bool else [])
    if min(query.dim(), key.dim(), value.dim()) < 2 or 0 in (*query.shape, *key.shape):
        return False
    if not query.is_floating_point() or len({(t.dtype, t.device) for t in floats}) > 1:
        return False
    if key.shape[-1] != query.shape[-1] or key.shape[-2] != value.shape[-2] or (causal and mask is not None):
        return False
    heads, key_heads, value_heads = (t.shape[-3] if t.dim() > 2 else 1 for t in (query, key, value))
    if grouped and (key_heads != value_heads or heads % key_heads):
        return False
    try:
        batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
        if not grouped:
            heads = torch.broadcast_shapes((heads,), (key_heads,), (value_heads,))[0]
        whole = (*batch, heads, query.shape[-2], key.shape[-2])
        return mask is None or torch.broadcast_shapes(mask.shape, whole) == whole
    except RuntimeError:
        return False


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float | None
) -> Tensor:
    dims = max(query.dim(), key.dim(), value.dim())
    q, k, v = (read_in_order(t)[(None,) * (max(dims, 4) - t.dim())] for t in (query, key, value))
    batch = torch.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    # Keys of one head go with any number of query heads, so only what is not divided among the heads is repeated.
    heads = max(k.shape[-3], v.shape[-3])
    q = q.expand(*batch, max(q.shape[-3], heads), -1, -1)
    k, v = (t.expand(*batch, heads, -1, -1) for t in (k, v))
    if mask is not None:
        mask = mask[(None,) * (q.dim() - mask.dim())]
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    o: Tensor
    if q.dim() == 4:
        o = Attention.apply(q, k, v, mask, causal, factor)
        return o[(0,) * (4 - dims)] if dims < 4 else o
    if mask is not None:
        mask = mask.expand(*batch, -1, -1, -1).flatten(0, -4)
    o = Attention.apply(*(t.flatten(0, -4) for t in (q, k, v)), mask, causal, factor)
    o = o.unflatten(0, batch)
    return o
