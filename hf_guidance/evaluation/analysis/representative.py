"""The representative model of a front: the best grounded of those that classify about as well as the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_ROUNDING = 1e-9  # rounding of floats: 0.7 - 0.05 is a little less than 0.65


class NoRepresentative(ValueError):
    """No model qualifies: each lost more than the drop, or there is none. The rest of the input was valid."""


def representative(
    points: Sequence[Mapping[str, float]],
    baseline_f1: float,
    drop: float = 0.05,
    *,
    keep: str = "f1",
    maximise: str = "epg",
) -> int:
    """The point with the highest EPG among those with F1 >= baseline F1 - drop (arXiv 2303.11932, appendix D).

    Args:
        points: Metrics of each model by name; only ``keep`` and ``maximise`` are read.
        baseline_f1: The ``keep`` metric of the unguided model, in the unit of the points.
        drop: How much lower the ``keep`` metric may be, in the same unit: 0.05 is 5 percentage points. A point exactly at
            the bound qualifies.
        keep: Name of the metric that may be lower by at most ``drop``.
        maximise: Name of the metric that decides; of equal points the earliest is taken.

    Returns:
        Index of the point.

    Raises:
        NoRepresentative: No points, or none qualifies. It is a ValueError. No model is returned then, because it would be
            reported as one that keeps its F1.
        ValueError: A metric is missing or is not a finite number, the drop is negative, or the units differ.

    Example:
        >>> points = [{"f1": 0.80, "epg": 0.4}, {"f1": 0.76, "epg": 0.6}, {"f1": 0.6, "epg": 0.9}]
        >>> representative(points, baseline_f1=0.8)
        1
    """
    if not (_finite(baseline_f1) and _finite(drop) and drop >= 0):
        raise ValueError(f"baseline_f1={baseline_f1}, drop={drop}; give a finite number, and a drop of at least 0.")
    if not points:
        raise NoRepresentative("the set of points is empty; give the metrics of at least one model.")
    kept, scores = _column(points, keep), _column(points, maximise)
    if 0 <= baseline_f1 <= 1 < max(kept):
        raise ValueError(
            f"baseline_f1={baseline_f1} is a share, but {keep} reaches {max(kept):g}; give both as shares or both as percent."
        )
    allowed = [index for index, value in enumerate(kept) if value >= baseline_f1 - drop - _ROUNDING]
    if not allowed:
        raise NoRepresentative(
            f"no point has {keep} >= {baseline_f1:g} - {drop:g}; the highest is {max(kept):g}. Guide with a lower weight, "
            "allow a larger drop, or check that baseline and points have one unit."
        )
    return max(allowed, key=lambda index: scores[index])


def _column(points: Sequence[Mapping[str, float]], name: str) -> list[float]:
    column = []
    for index, point in enumerate(points):
        if name not in point:
            raise ValueError(f"point {index} has no metric {name!r}; it has {sorted(point)}.")
        if not _finite(point[name]):
            raise ValueError(f"{name} of point {index} is {point[name]}; leave out models whose metrics are undefined.")
        column.append(float(point[name]))
    return column


def _finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(value))
    except TypeError:  # None or text
        return False
