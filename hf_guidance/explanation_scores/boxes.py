"""Top boxes: those to which the model attributes most."""

from __future__ import annotations

import torch
from torch import Tensor


def top_boxes(attribution: Tensor, share: float, real: Tensor | None = None) -> Tensor:
    """The boxes with the largest positive attribution: {A > cut and A > 0}.

    The cut is the value at the descending rank ``int(share * boxes)`` (from 0): so many boxes without ties, fewer with ties or
    few positive values (arXiv 2206.11212, official code).

    Args:
        attribution: (rows, objects), any sign.
        share: Share of the boxes, above 0 and below 1.
        real: (rows, objects) bool, False at padding; None where all are real.

    Returns:
        (rows, objects) bool.

    Raises:
        ValueError: ``share`` out of range, or the attribution is no matrix.

    Example:
        >>> top_boxes(torch.tensor([[0.5, 0.1, -1.0, 0.3]]), 0.5).tolist()
        [[True, False, False, True]]
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share!r}; give a share of the boxes above 0 and below 1, as 0.25.")
    if attribution.dim() != 2:
        raise ValueError(f"attribution has shape {tuple(attribution.shape)}; allowed is (rows, objects).")
    real = torch.ones_like(attribution, dtype=torch.bool) if real is None else real
    ordered = attribution.masked_fill(~real, -torch.inf).sort(1, descending=True).values
    # A table, for the product must be rounded as Python does, on every device.
    table = [int(share * boxes) for boxes in range(attribution.shape[1] + 1)]
    ranks = torch.tensor(table, device=attribution.device)[real.sum(1)]
    return (attribution > ordered.gather(1, ranks[:, None])) & (attribution > 0) & real
