"""Pictures of Pareto fronts: grounding against classification, one line per run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation.analysis.pareto import Bins, pareto_indices

PLANES = (("f1", "epg"), ("f1", "attribution_iou"))


def pareto_figure(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    path: str | Path,
    *,
    planes: Sequence[tuple[str, str]] = PLANES,
    baseline: Mapping[str, float] | None = None,
    bins: Bins = 0.005,
    title: str = "",
) -> None:
    """Save the fronts of labelled runs (figures 5 and 6 of arXiv 2303.11932), one panel per plane of two metrics.

    All points of a run are drawn pale. Those on its front, computed from the two metrics of the panel, are bright and joined
    by a line. The file is written whole or not at all.

    Args:
        runs: Label of a run to the metrics of its models by name, larger is better.
        path: File to write; the suffix decides the format.
        planes: Pairs (horizontal, vertical) of metric names, one panel per pair.
        baseline: Metrics of the unguided model, marked by a cross.
        bins: As for ``pareto_indices``.
        title: Title above the panels.

    Raises:
        ValueError: No run, a run without points, a path without a suffix, or a metric of a plane that a point or the
            baseline lacks or that is not a finite number.

    Example:
        >>> points = {"Energy": [{"f1": 0.79, "epg": 0.72, "attribution_iou": 0.2}]}
        >>> pareto_figure(points, "fronts.png", baseline={"f1": 0.81, "epg": 0.36, "attribution_iou": 0.1})
    """
    _check(runs, planes, baseline)
    if not Path(path).suffix:
        raise ValueError(f"{path} has no suffix, which decides the format; write {path}.png, for example.")
    figure = _new_figure(len(planes))
    axes = figure.subplots(1, len(planes), squeeze=False)[0]
    for axis, (across, up) in zip(axes, planes, strict=True):
        for number, (label, points) in enumerate(runs.items()):
            _draw(axis, np.array([[point[across], point[up]] for point in points]), f"C{number}", label, bins)
        if baseline is not None:
            axis.plot(baseline[across], baseline[up], "kX", markersize=8, label="baseline")
        axis.set(xlabel=across, ylabel=up)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.suptitle(title)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=110)


def _new_figure(panels: int) -> Any:
    from matplotlib.figure import Figure  # imported here: it takes a second

    return Figure(figsize=(4.2 * panels, 3.4), layout="constrained")


def _draw(axis: Any, points: Any, color: str, label: str, bins: Bins) -> None:
    front = points[pareto_indices(points, bins)]
    front = front[np.lexsort((-front[:, 1], front[:, 0]))]
    axis.plot(*points.T, ".", color=color, alpha=0.25)
    axis.plot(*front.T, "o-", color=color, markersize=4, label=label)


def _check(runs: Any, planes: Any, baseline: Any) -> None:
    if not runs or not planes:
        raise ValueError(f"{len(runs)} runs and {len(planes)} planes were given; give at least one of each.")
    names = {name for plane in planes for name in plane}
    for label, points in runs.items():
        if not len(points):
            raise ValueError(
                f"run {label!r} has no points, so it has no front; give at least one model or leave it out."
            )
        for index, point in enumerate(points):
            _check_point(point, names, f"point {index} of run {label!r}")
    if baseline is not None:
        _check_point(baseline, names, "baseline")


def _check_point(point: Mapping[str, Any], names: set[str], what: str) -> None:
    if missing := names - set(point):
        raise ValueError(f"{what} lacks {sorted(missing)}; it has {sorted(point)}.")
    for name in sorted(names):
        try:
            finite = math.isfinite(point[name])
        except TypeError:
            finite = False
        if not finite:
            raise ValueError(f"{what}: {name} is {point[name]!r}, not a finite number; leave the point out.")
