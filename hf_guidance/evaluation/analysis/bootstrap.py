"""Bootstrap over data points and seeds: a mean with its confidence interval, and paired comparisons (arXiv 2206.11212)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.common.progress import progress

_CHUNK = 1 << 22  # numbers in memory at a time, whatever the size of the grid


@dataclass(frozen=True)
class Estimate:
    """A bootstrapped mean.

    Attributes:
        estimate: Mean of the sample means.
        low: Lower end of the confidence interval, a quantile of the sample means.
        high: Upper end of the interval.
        p_value: P(|s - m| > |m|) for sample means s with mean m. It tests whether the true mean is 0, as for a difference
            between methods.
    """

    estimate: float
    low: float
    high: float
    p_value: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval, which papers print after ±."""
        return (self.high - self.low) / 2


def point_grid(runs: Sequence[Mapping[Any, float]]) -> npt.NDArray[np.float64]:
    """Arrange the scores of several seeds in a grid, aligned by question.

    Args:
        runs: One mapping per seed, from question id to score.

    Returns:
        (points, seeds) float64, points in the order of the first run.

    Raises:
        ValueError: No run, or the runs hold different questions.

    Example:
        >>> point_grid([dict(zip(scores["question_id"], scores["accuracy"])) for scores in seeds])
    """
    if not runs:
        raise ValueError("runs is empty; give one mapping from question id to score for each seed.")
    for number, run in enumerate(runs):
        different = set(run) ^ set(runs[0])
        if different:
            some = sorted(map(str, different))[:3]
            raise ValueError(
                f"run {number} differs from run 0 in {len(different)} questions, as {some}; evaluate every seed on the same."
            )
    return np.array([[run[question] for run in runs] for question in runs[0]], dtype=np.float64)


def bootstrap_mean(
    grid: npt.ArrayLike,
    *,
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    missing: str = "refuse",
    empty: str = "refuse",
    draws: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Estimate:
    """The mean of a grid and its confidence interval, points and seeds resampled with replacement.

    In each bootstrap sample, points are drawn once for all seeds, and seeds once for all points.

    Args:
        grid: (points, seeds) scores, or (points,) of one model.
        samples: Number of bootstrap samples.
        level: Level of the confidence interval.
        seed: Seed of the draws.
        missing: What to do with NaN: "refuse" raises, "drop" averages over the drawn scores that are defined.
        empty: What to do with bootstrap samples that hold no score at all: "refuse" raises, "drop" leaves them out.
        draws: Recorded draws to use instead of new ones, indices (samples, points) and (samples, seeds).

    Returns:
        The estimate.

    Raises:
        ValueError: The grid is empty or of another shape, holds NaN under "refuse", or an option is out of range.

    Example:
        >>> bootstrap_mean(point_grid(runs)).half_width
    """
    values = np.asarray(grid, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size:
        raise ValueError(f"grid has shape {values.shape}; allowed is (points, seeds), both at least 1.")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples={samples}, level={level}; give at least 1 sample and a level between 0 and 1.")
    valid = ~np.isnan(values)
    if missing not in ("refuse", "drop") or (missing == "refuse" and not valid.all()):
        raise ValueError(
            f"missing={missing!r}, and {np.count_nonzero(~valid)} of {values.size} scores are NaN; choose 'drop' to average "
            "over the others, or 'refuse' where none is NaN."
        )
    parts = _drawn(values.shape, samples, seed) if draws is None else _given(draws, values.shape)
    statistics = np.concatenate([_means(values, valid, *part) for part in parts])
    if empty not in ("refuse", "drop"):
        raise ValueError(f"empty={empty!r}; choose 'refuse' or 'drop'.")
    hollow = np.isnan(statistics)
    if hollow.any() and (empty == "refuse" or hollow.all()):
        raise ValueError("a bootstrap sample holds no score at all; too many scores are NaN.")
    statistics = statistics[~hollow]
    mean = float(statistics.mean())
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean, float(low), float(high), float(np.mean(np.abs(statistics - mean) > abs(mean))))


def compare(first: npt.ArrayLike, second: npt.ArrayLike, **options: Any) -> Estimate:
    """Whether the first method is better: the bootstrapped mean of ``first - second``, paired by point and seed.

    Args:
        first: (points, seeds) scores of one method, or (points,).
        second: Scores of the other method, with the same points and seeds in the same order.
        **options: As for ``bootstrap_mean``.

    Returns:
        The estimated difference; its ``p_value`` tests that there is none, and is 0 where no sample is as extreme.

    Raises:
        ValueError: The shapes differ, or as for ``bootstrap_mean``.

    Example:
        >>> compare(point_grid(guided), point_grid(baseline)).p_value < 0.05
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"first has shape {one.shape}, second {other.shape}; give the same points and seeds of both.")
    return bootstrap_mean(one - other, **options)


def _drawn(shape: tuple[int, ...], samples: int, seed: int) -> Iterator[tuple[Any, Any]]:
    # Chunks of samples: how often each point and each seed is drawn.
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(shape))
    for start in progress(range(0, samples, step), "bootstrap"):
        count = min(step, samples - start)
        yield tuple(_counts(random.integers(0, size, (count, size)), size) for size in shape)  # type: ignore[misc]


def _given(draws: tuple[npt.ArrayLike, npt.ArrayLike], shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    points, seeds = (np.asarray(indices, dtype=np.int64) for indices in draws)
    if points.ndim != 2 or seeds.ndim != 2 or len(points) != len(seeds):
        raise ValueError(
            f"draws have shapes {points.shape} and {seeds.shape}; give (samples, points), (samples, seeds)."
        )
    if (points.shape[1], seeds.shape[1]) != shape:
        raise ValueError(f"draws of {points.shape[1]} points and {seeds.shape[1]} seeds do not fit a grid {shape}.")
    yield _counts(points, shape[0]), _counts(seeds, shape[1])


def _counts(indices: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float64]:
    offsets = size * np.arange(len(indices))[:, None]
    counts = np.bincount((indices + offsets).ravel(), minlength=size * len(indices))
    return counts.reshape(len(indices), size).astype(np.float64)


def _means(values: Any, valid: Any, points: Any, seeds: Any) -> npt.NDArray[np.float64]:
    # The mean of a resampled grid is the mean of the grid weighted by the counts, so no grid is resampled.
    total = ((points @ np.where(valid, values, 0)) * seeds).sum(1)
    number = ((points @ valid.astype(np.float64)) * seeds).sum(1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / number)
