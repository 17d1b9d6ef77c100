"""Overlap of the boxes a model looks at with those important to people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from hf_guidance.explanation_scores import top_boxes


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
        threshold: Boxes above it are important.
        levels: Shares of boxes; each gives its top boxes, the largest positive attributions.

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
        top = top_boxes(given[0], level, given[1]).numpy()
        with np.errstate(invalid="ignore"):
            overlaps.append((top & important).sum(1) / (top | important).sum(1))
    return np.stack(overlaps, axis=1)
