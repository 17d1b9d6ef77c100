"""Top boxes (those with the largest attribution), and their overlap with the boxes that are important to people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def top_boxes(attribution: Tensor, share: float, real: Tensor | None = None) -> Tensor:
    """The boxes of each explained row with the largest positive attribution: {A > cut and A > 0}.

    The cut is the value at rank ``int(share * boxes)`` in descending order, counted from 0. Without ties, that many boxes
    are top boxes; with ties or few positive values, fewer are (arXiv 2206.11212, official code).

    Args:
        attribution: (rows, objects), any sign.
        share: Share of the boxes, above 0 and below 1.
        real: (rows, objects) bool, False at padding; None where all are real.

    Returns:
        (rows, objects) bool.

    Raises:
        ValueError: ``share`` is out of range, or the attribution does not have two dimensions.

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
    # int(share * boxes) comes from a table, so that every device rounds the product as Python does.
    table = [int(share * boxes) for boxes in range(attribution.shape[1] + 1)]
    ranks = torch.tensor(table, device=attribution.device)[real.sum(1)]
    return (attribution > ordered.gather(1, ranks[:, None])) & (attribution > 0) & real


def overlap(chosen: npt.NDArray[np.bool_], important: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Intersection over union of two sets of boxes.

    Args:
        chosen: (..., objects) bool.
        important: (..., objects) bool, broadcasts against ``chosen``.

    Returns:
        (...) float64 in [0, 1], NaN where both are empty.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray((chosen & important).sum(-1) / (chosen | important).sum(-1))


def top_box_iou(
    attribution: npt.ArrayLike,
    importance: npt.ArrayLike,
    threshold: float,
    levels: Sequence[float] = (0.1, 0.25, 0.5),
) -> npt.NDArray[np.float64]:
    """Intersection over union of the top boxes (of attention, or of any attribution) and the important ones.

    Args:
        attribution: (points, objects), as ``explanation_scores`` returns it.
        importance: (points, objects), NaN at padding.
        threshold: Boxes whose importance exceeds it are important.
        levels: Shares of boxes; the top boxes are taken at each of them.

    Returns:
        (points, levels) float64 in [0, 1], NaN where a point has neither important nor top boxes.

    Raises:
        ValueError: The shapes differ, or a level is out of range.

    Example:
        >>> top_box_iou(scores["attribution"], scores["importance"], threshold=0.55).mean(1)
    """
    first, second = np.asarray(attribution, dtype=np.float64), np.asarray(importance, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"attribution has shape {first.shape}, importance {second.shape}; both must be (points, objects)."
        )
    real, important = ~np.isnan(second), second > threshold
    given = torch.from_numpy(np.where(real, first, 0)), torch.from_numpy(real)
    overlaps = []
    for level in levels:
        overlaps.append(overlap(top_boxes(given[0], level, given[1]).numpy(), important))
    return np.stack(overlaps, axis=1)
