"""Attention of a question over boxes: scores by products, a softmax that leaves out padding, and what is looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_guidance.models.shared.edited_boxes import repeat_rows, weighted_sum


def gated_dots(projected: Tensor, gate: Tensor, drop: Tensor | None = None) -> Tensor:
    """``s_rk = sum_h p_(r mod n)kh * g_rh``: the gate of a question meets the projected boxes of its image.

    Args:
        projected: (n, objects, hidden).
        gate: (m, hidden); n and m are multiples of each other, copy by copy.
        drop: (n, objects, hidden) that multiplies ``projected``; None for none.

    Returns:
        (max(n, m), objects).
    """
    if drop is not None:
        projected = projected * repeat_rows(drop, max(len(projected), len(drop)))
    rows = max(len(projected), len(gate))
    per_copy = repeat_rows(gate, rows).unflatten(0, (rows // len(projected), len(projected)))
    return torch.einsum("nkh,cnh->cnk", projected, per_copy).flatten(0, 1)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over boxes, 0 at padding; all 0 where every box is padding.

    Args:
        scores: (rows, objects).
        mask: (batch or rows, objects), 0 = padding; None for none.

    Raises:
        ValueError: The mask has another shape.
    """
    if mask is None:
        return scores.softmax(-1)
    check_mask(mask, scores.shape[1])
    real = repeat_rows(mask, len(scores)).bool()
    # The lowest number, not -inf: with -inf, scores of padding alone would give nan, and so would their gradient.
    return scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~real, 0.0)


def check_mask(mask: Tensor, objects: int) -> None:
    """Raise a ValueError where a mask is not (rows, objects)."""
    if mask.dim() != 2 or mask.shape[1] != objects:
        raise ValueError(
            f"visual_attention_mask of shape {tuple(mask.shape)} does not fit {objects} boxes; "
            "(batch, objects) is needed, 0 = padding."
        )


def attended(attention: Tensor, features: Tensor, keep: Tensor | None, filled: Tensor | None) -> Tensor:
    """The mean of the boxes by their attention, (rows, dims), where boxes with keep False hold ``filled``.

    Args:
        attention: (rows, objects).
        features: (n, objects, dims); rows is a multiple of n, copy by copy.
        keep: (rows, objects) bool, or None.
        filled: (1, n or rows; 1 or objects; dims), or None.
    """
    if keep is None or filled is None:
        return weighted_sum(attention, features)
    replaced = attention.masked_fill(keep, 0.0)
    if filled.shape[1] == 1:
        replaced = replaced.sum(-1, keepdim=True)
    return weighted_sum(attention.masked_fill(~keep, 0.0), features) + weighted_sum(replaced, filled)
