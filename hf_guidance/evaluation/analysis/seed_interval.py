"""Student's t intervals over a few seeds: of a mean, and of the difference of two methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SeedInterval:
    """A mean over seeds and its interval.

    Attributes:
        mean: The mean.
        low: Lower end; None where one seed tells nothing of the spread.
        high: Upper end; None likewise.
        seeds: Number of seeds, of the smaller side where two unpaired sides are compared.
        paired: Whether it is of differences seed by seed.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    paired: bool = False

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, which is printed after ±."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def seed_interval(values: Sequence[float], level: float = 0.95) -> SeedInterval:
    """The mean and ``mean ± t * s / sqrt(n)``, with t of n - 1 degrees of freedom and the sample deviation s.

    The bootstrap (``bootstrap_mean``) needs the scores of every data point; of a few numbers, one for each seed, it gives
    intervals that are too narrow.

    Args:
        values: One number for each seed.
        level: Level of the interval.

    Raises:
        ValueError: No value, one that is not finite, or a level outside (0, 1).

    Example:
        >>> seed_interval([0.70, 0.74, 0.72]).half_width  # 4.30 * 0.02 / sqrt(3)
    """
    numbers = _checked(values, level)
    mean = math.fsum(numbers) / len(numbers)
    if len(numbers) < 2:
        return SeedInterval(mean, None, None, 1)
    half = _quantile(level, len(numbers) - 1) * math.sqrt(_variance(numbers) / len(numbers))
    return SeedInterval(mean, mean - half, mean + half, len(numbers))


def seed_difference(first: Mapping[object, float], second: Mapping[object, float], level: float = 0.95) -> SeedInterval:
    """The mean of ``first - second`` and its interval.

    With the same seeds on both sides the differences are taken seed by seed; else the two means are compared by Welch's
    interval (Welch 1947).

    Args:
        first: Seed to number.
        second: Likewise.
        level: Level of the interval.

    Raises:
        ValueError: As for ``seed_interval``.

    Example:
        >>> seed_difference({0: 0.8, 1: 0.9}, {0: 0.7, 1: 0.75}).mean  # 0.125
    """
    if set(first) == set(second) and first:
        found = seed_interval([first[seed] - second[seed] for seed in first], level)
        return SeedInterval(found.mean, found.low, found.high, found.seeds, paired=True)
    sides = [_checked(list(side.values()), level) for side in (first, second)]
    mean = math.fsum(sides[0]) / len(sides[0]) - math.fsum(sides[1]) / len(sides[1])
    fewest = min(map(len, sides))
    if fewest < 2:
        return SeedInterval(mean, None, None, fewest)
    parts = [_variance(side) / len(side) for side in sides]
    if not sum(parts):
        return SeedInterval(mean, mean, mean, fewest)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    half = _quantile(level, freedom) * math.sqrt(sum(parts))
    return SeedInterval(mean, mean - half, mean + half, fewest)


def _checked(values: Sequence[float], level: float) -> list[float]:
    numbers = [float(value) for value in values]
    if not numbers or not all(map(math.isfinite, numbers)) or not 0 < level < 1:
        raise ValueError(
            f"values={numbers}, level={level}; give at least one finite number and a level between 0 and 1."
        )
    return numbers


def _variance(numbers: Sequence[float]) -> float:
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)


def _quantile(level: float, freedom: float) -> float:
    from scipy.stats import t  # imported here: it takes a second

    return float(t.ppf((1 + level) / 2, freedom))
