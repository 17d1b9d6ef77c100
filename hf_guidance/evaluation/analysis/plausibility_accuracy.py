"""Accuracy against plausibility, by how faithful the explanation is (arXiv 2206.11212, section 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.common.checks import check_choice

GROUPS = ("worst", "middle", "best")
_CUTS = {"sufficiency": (0.01, 0.25), "comprehensiveness": (0.40, 0.20)}  # best, worst: table 8 of the paper


@dataclass(frozen=True)
class Trend:
    """Accuracy against plausibility in one group: P(right) = 1 / (1 + exp(-(intercept + slope * plausibility))).

    Attributes:
        points: Number of data points of the group with a defined plausibility.
        share: Their share of all data points with a defined plausibility.
        accuracy: Their mean accuracy, NaN without points.
        intercept: In log-odds; NaN where no trend can be fitted, with fewer than two different plausibilities.
        slope: In log-odds per unit of plausibility.
        slope_error: Standard error of the slope.
        converged: False where the likelihood has no maximum (one accuracy throughout, or separated by plausibility).
        bins: (bins,) centres of equal parts of [-1, 1].
        bin_accuracy: (bins,) mean accuracy in these parts, NaN where one is empty.
    """

    points: int
    share: float
    accuracy: float
    intercept: float
    slope: float
    slope_error: float
    converged: bool
    bins: npt.NDArray[np.float64]
    bin_accuracy: npt.NDArray[np.float64]

    def probability(self, plausibility: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """P(right) at given plausibilities."""
        return _sigmoid(self.intercept + self.slope * np.asarray(plausibility, dtype=np.float64))


def faithfulness_groups(
    values: npt.ArrayLike, by: str = "sufficiency", cuts: tuple[float, float] | None = None
) -> npt.NDArray[np.str_]:
    """Sort data points by the faithfulness of their explanations into "best", "middle" and "worst".

    By sufficiency, "best" is at most 0.01 and "worst" at least 0.25; by comprehensiveness, "best" is at least 0.40 and "worst"
    below 0.20.

    Args:
        values: (points,) scores.
        by: "sufficiency" (lower is better) or "comprehensiveness" (higher is better).
        cuts: Bounds (best, worst) instead of those of the paper.

    Returns:
        (points,) of "best", "middle", "worst".

    Raises:
        ValueError: ``by`` is unknown, a score is NaN, or the cuts are in the wrong order.

    Example:
        >>> faithfulness_groups([0.0, 0.1, 0.3]).tolist()
        ['best', 'middle', 'worst']
    """
    check_choice("by", by, sorted(_CUTS))
    best, worst = cuts or _CUTS[by]
    lower = by == "sufficiency"
    if (best >= worst) if lower else (best <= worst):
        raise ValueError(f"cuts=({best}, {worst}) for {by}: best must be {'below' if lower else 'above'} worst.")
    scores = np.asarray(values, dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"{np.isnan(scores).sum()} of {scores.size} values of {by} are NaN; leave these points out.")
    is_best, is_worst = (scores <= best, scores >= worst) if lower else (scores >= best, scores < worst)
    return np.where(is_best, "best", np.where(is_worst, "worst", "middle"))


def accuracy_by_plausibility(
    accuracy: npt.ArrayLike, plausibility: npt.ArrayLike, groups: npt.ArrayLike, bins: int = 10
) -> dict[str, Trend]:
    """The trend of accuracy against plausibility in each group, by logistic regression.

    Points without plausibility (NaN) belong to no trend: compare the number of points of the trends with that given.

    Args:
        accuracy: (points,) in [0, 1]; soft scores count as a share of right answers.
        plausibility: (points,) in [-1, 1] or NaN.
        groups: (points,) of "best", "middle", "worst", from ``faithfulness_groups``.
        bins: Number of equal parts of [-1, 1] whose mean accuracy is returned too.

    Returns:
        Group ("worst", "middle", "best") to its trend.

    Raises:
        ValueError: Lengths differ, or accuracies outside [0, 1].

    Example:
        >>> groups = faithfulness_groups(scores["sufficiency"])
        >>> accuracy_by_plausibility(scores["accuracy"], scores["plausibility"], groups)["best"].slope
    """
    right, x = np.asarray(accuracy, dtype=np.float64), np.asarray(plausibility, dtype=np.float64)
    names = np.asarray(groups)
    if not right.shape == x.shape == names.shape or right.ndim != 1:
        raise ValueError(f"accuracy, plausibility and groups have shapes {right.shape}, {x.shape}, {names.shape}.")
    if not ((right >= 0) & (right <= 1)).all():
        raise ValueError("accuracy holds values outside [0, 1] or NaN; give shares of right answers, not percent.")
    defined = ~np.isnan(x)
    total = max(int(defined.sum()), 1)
    return {name: _trend(right[own], x[own], total, bins) for name in GROUPS for own in [defined & (names == name)]}


def plot_trends(trends: Mapping[str, Trend], path: str | Path, title: str = "Explanation faithfulness") -> None:
    """Save the trends as lines and the binned accuracies as points (figure 2 of the paper).

    Args:
        trends: What ``accuracy_by_plausibility`` returned.
        path: File to write; the suffix decides the format.
        title: Title of the legend.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second

    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    axis = figure.subplots()
    at = np.linspace(-1, 1, 101)
    for number, (name, trend) in enumerate(trends.items()):
        axis.plot(at, trend.probability(at), color=f"C{number}", label=f"{name} ({trend.share:.0%})")
        axis.plot(trend.bins, trend.bin_accuracy, ".", color=f"C{number}")
    axis.set(xlabel="explanation plausibility", ylabel="accuracy", xlim=(-1, 1), ylim=(0, 1))
    axis.legend(title=title)
    figure.savefig(path)


def _trend(right: Any, x: Any, total: int, bins: int) -> Trend:
    edges = np.linspace(-1, 1, bins + 1)
    place = np.clip(np.digitize(x, edges) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    mean = np.bincount(place, weights=right, minlength=bins) / np.where(count, count, np.nan)
    accuracy = float(right.mean()) if len(right) else float("nan")
    fit = _logistic(right, x) if len(x) and np.ptp(x) > 0 else (np.nan, np.nan, np.nan, False)
    return Trend(len(x), len(x) / total, accuracy, *fit, (edges[:-1] + edges[1:]) / 2, mean)


def _logistic(right: Any, x: Any, steps: int = 50) -> tuple[float, float, float, bool]:
    # Newton's method on the likelihood (iteratively reweighted least squares), which takes shares of right answers too.
    design = np.stack([np.ones_like(x), x], axis=1)
    weights = np.zeros(2)
    converged = False
    for _ in range(steps):
        p = _sigmoid(design @ weights)
        information = (design * (p * (1 - p))[:, None]).T @ design
        if np.linalg.cond(information) > 1e12:
            break
        step = np.linalg.solve(information, design.T @ (right - p))
        weights = weights + step
        converged = bool(np.abs(step).max() < 1e-10)
        if converged:
            break
    if not converged:
        return float(weights[0]), float(weights[1]), float("nan"), False
    return float(weights[0]), float(weights[1]), float(np.sqrt(np.linalg.inv(information)[1, 1])), True


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy.special import expit  # imported here: the package is imported without scipy

    return np.asarray(expit(values))
