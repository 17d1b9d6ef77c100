"""Pareto fronts: the models that no other model dominates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bins = float | Sequence[float] | None


class ParetoMember(NamedTuple):
    """A point on a front.

    Attributes:
        key: Names the model of the point, as given to ``ParetoFront.add``.
        point: Its metrics, not rounded.
    """

    key: Hashable
    point: tuple[float, ...]


class ParetoFront:
    """A front that grows point by point; larger is better in every metric.

    One point dominates another if it is smaller in no metric and larger in at least one, after both are rounded to bins:
    round(value / bin), halves to even. Of points that are equal after rounding, the earliest stays. This is the rule of the
    published code (arXiv 2303.11932), which adds the validation metrics after every epoch. A dominated point never returns,
    so the members at the end are those of ``pareto_indices`` on all points.

    Args:
        bins: Width of a bin, one for all metrics or one for each; None compares the values as they are.

    Attributes:
        members: The points on the front, in the order in which they were added.

    Raises:
        ValueError: A bin that is not a positive number.

    Example:
        >>> front = ParetoFront()
        >>> front.add((0.81, 0.52), key="step-100"), front.add((0.79, 0.50), key="step-200")
        (True, False)
    """

    def __init__(self, bins: Bins = 0.005) -> None:
        self.bins = _checked_bins(bins)
        self._members: list[ParetoMember] = []

    @property
    def members(self) -> tuple[ParetoMember, ...]:
        """The points on the front, in the order in which they were added."""
        return tuple(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, point: Sequence[float], key: Hashable) -> bool:
        """Add a point; the points that it dominates leave the front.

        Args:
            point: One number per metric.
            key: Names the model of the point; members have different keys.

        Returns:
            Whether the point is on the front.

        Raises:
            ValueError: NaN or infinity, another number of metrics than before, or a key that is on the front already.
        """
        given = tuple(float(value) for value in point)
        if self._members and len(given) != len(self._members[0].point):
            raise ValueError(
                f"point of {key!r} has {len(given)} metrics, those before had {len(self._members[0].point)}; "
                "give the same metrics of every point."
            )
        if any(member.key == key for member in self._members):
            raise ValueError(
                f"the key {key!r} is on the front already; add a point once, and make keys tell runs apart, "
                "e.g. (weight, step)."
            )
        candidates = [*self._members, ParetoMember(key, given)]
        kept = pareto_indices([member.point for member in candidates], self.bins)
        self._members = [candidates[index] for index in kept]
        return len(candidates) - 1 in kept


def pareto_indices(points: npt.ArrayLike, bins: Bins = 0.005) -> list[int]:
    """Indices of the points that no other point dominates, by the rule of ``ParetoFront``.

    Args:
        points: (points, metrics), larger is better.
        bins: As for ``ParetoFront``.

    Returns:
        Indices, ascending.

    Raises:
        ValueError: No points, points of different lengths, NaN or infinity, or a bin that is not a positive number.

    Example:
        >>> pareto_indices([[0.8, 0.5], [0.7, 0.6], [0.7, 0.5]])
        [0, 1]
    """
    values = _binned(_checked_points(points), _checked_bins(bins))
    kept = []
    for index, own in enumerate(values):
        no_less = (values >= own).all(1)
        larger = (values > own).any(1)
        # Without a dominating point, an earlier point that is no less is an equal one, which stays instead.
        if not (no_less & larger).any() and not no_less[:index].any():
            kept.append(index)
    return kept


def merged(fronts: Sequence[ParetoFront]) -> ParetoFront:
    """Merge several fronts, for example of runs with different weights: their members are added front by front.

    Args:
        fronts: Fronts with the same metrics and bins, and with keys that tell their runs apart.

    Returns:
        A new front.

    Raises:
        ValueError: No front, no front with members, different bins or numbers of metrics, or a key in two fronts.

    Example:
        >>> merged([front_of_weight[weight] for weight in (5e-4, 1e-3, 5e-3)]).members
    """
    if not any(len(front) for front in fronts):
        raise ValueError(f"{len(fronts)} fronts without a member were given; give at least one point.")
    if any(front.bins != fronts[0].bins for front in fronts):
        raise ValueError(
            f"fronts have different bins {[front.bins for front in fronts]}; build all with the bins of one."
        )
    members = [member for front in fronts for member in front.members]
    keys = [member.key for member in members]
    twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
    if twice is not None:
        raise ValueError(f"the key {twice!r} is in two fronts; make keys tell runs apart, e.g. (weight, step).")
    whole = ParetoFront(fronts[0].bins)
    for member in members:
        whole.add(member.point, member.key)
    return whole


def _checked_bins(bins: Bins) -> Any:
    if bins is None:
        return None
    widths = np.asarray(bins, dtype=np.float64)
    if widths.ndim > 1 or not widths.size or not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"bins={bins!r}; give one positive number, one for each metric, or None to compare exactly.")
    return tuple(widths.tolist()) if widths.ndim else float(widths)


def _checked_points(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"points are not numbers of one shape ({error}); give the same metrics of every point."
        ) from error
    if values.ndim == 0 or not len(values):
        raise ValueError("the set of points is empty, so it has no front; give at least one point.")
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"points have shape {values.shape}; allowed is (points, metrics), both at least 1.")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(1)).tolist()
        raise ValueError(f"points {bad[:5]} hold NaN or infinity; leave out models whose metrics are undefined.")
    return values


def _binned(values: npt.NDArray[np.float64], bins: Any) -> npt.NDArray[np.float64]:
    if bins is None:
        return values
    if isinstance(bins, tuple) and len(bins) != values.shape[1]:
        raise ValueError(f"{len(bins)} bins for {values.shape[1]} metrics; give one bin, or one for each metric.")
    return np.asarray(np.round(values / np.asarray(bins)))
