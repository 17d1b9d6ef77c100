"""preference: which of two models people prefer, with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hf_guidance.evaluation.analysis.bootstrap import bootstrap_mean

__all__ = ["POINTS", "Interval", "Preference", "preference"]

POINTS = (-2, -1, 0, 1, 2)
"""From the first model being clearly better to the second being so."""


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap confidence interval.

    Attributes:
        mean: Of all ratings.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Preference:
    """What raters said of two models.

    Attributes:
        models: Their names.
        comparisons: How many comparisons somebody rated.
        raters: How many people rated.
        ratings: How many ratings there are.
        counts: How many ratings are -2, -1, 0, 1 and 2.
        prefer_first: Share of ratings below 0, in [0, 1].
        equal: Share of ratings that are 0.
        prefer_second: Share of ratings above 0.
        rating: Mean rating, in [-2, 2]; above 0, the second model is preferred.
        prefer_shown_first: Share of the ratings other than 0 that prefer the model that stood first on the page: 0.5 where the
            place had no influence; None where it is not known, or all ratings are 0.
    """

    models: tuple[str, str]
    comparisons: int
    raters: int
    ratings: int
    counts: dict[int, int]
    prefer_first: Interval
    equal: Interval
    prefer_second: Interval
    rating: Interval
    prefer_shown_first: float | None

    def __str__(self) -> str:
        first, second = self.models
        shares = (
            (f"prefer {first}", self.prefer_first),
            ("equal", self.equal),
            (f"prefer {second}", self.prefer_second),
        )
        lines = [f"{self.ratings} ratings of {self.comparisons} comparisons by {self.raters} raters"]
        lines += [f"{name}: {_share(share)}" for name, share in shares]
        lines.append(f"mean rating, -2 for {first} to 2 for {second}: {_number(self.rating)}")
        if self.prefer_shown_first is not None:
            lines.append(f"prefer what was shown first: {100 * self.prefer_shown_first:.1f} % of those not equal")
        return "\n".join(lines)


def preference(
    ratings: npt.ArrayLike,
    models: Sequence[str],
    *,
    swapped: npt.ArrayLike | None = None,
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Preference:
    """Which of two models is preferred.

    Source: R. Selvaraju et al., arXiv 1902.03751, section 7, which prints the shares of those who prefer each model. Confidence
    intervals are those of `bootstrap_mean`: comparisons and raters are both resampled, because the ratings of one comparison,
    and those of one person, belong together. The same samples serve every
    share; those that drew no rating at all are left out. The ratings of one person tell nothing of others: then an
    interval is over comparisons alone.

    Args:
        ratings: (comparisons, raters) whole numbers from -2, the first model is clearly better, to 2, the second is; NaN where
            a rater did not rate.
        models: Names of the two models.
        swapped: (comparisons, raters), 1 where the second model stood first on the page, 0 where it did not, NaN where that is
            not known; None where it is known of none.
        samples: Number of bootstrap samples.
        level: Level of the confidence intervals.
        seed: Seed of the samples.

    Returns:
        The preference.

    Raises:
        ValueError: There is no rating, one is another number, or the shapes differ.

    Example:
        >>> preference([[1, 2], [0, 1]], ["unguided", "guided"]).prefer_second.mean
        0.75
    """
    values = _checked(ratings, models)
    values = values[~np.isnan(values).all(1)][:, ~np.isnan(values).all(0)]
    given = values[~np.isnan(values)]

    def interval(figures: npt.NDArray[np.float64]) -> Interval:
        figures = np.where(np.isnan(values), np.nan, figures)
        found = bootstrap_mean(figures, samples=samples, level=level, seed=seed, missing="drop", empty="drop")
        return Interval(float(np.nanmean(figures)), found.low, found.high)

    first, second = models
    return Preference(
        models=(str(first), str(second)), comparisons=values.shape[0], raters=values.shape[1], ratings=len(given),
        counts={point: int((given == point).sum()) for point in POINTS},
        prefer_first=interval((values < 0).astype(float)), equal=interval((values == 0).astype(float)),
        prefer_second=interval((values > 0).astype(float)), rating=interval(values),
        prefer_shown_first=_shown_first(np.asarray(ratings, np.float64), swapped),
    )  # fmt: skip


def _checked(ratings: npt.ArrayLike, models: Sequence[str]) -> npt.NDArray[np.float64]:
    values = np.asarray(ratings, np.float64)
    if len(models) != 2 or models[0] == models[1]:
        raise ValueError(f"models is {list(models)}; give the names of two models.")
    if values.ndim != 2:
        raise ValueError(f"ratings have shape {values.shape}; give (comparisons, raters).")
    given = values[~np.isnan(values)]
    if not len(given):
        raise ValueError("there is no rating yet; ask at least one person about one comparison.")
    if not np.isin(given, POINTS).all():
        wrong = given[~np.isin(given, POINTS)][0]
        raise ValueError(f"ratings hold {wrong}; allowed: {list(POINTS)}, and NaN where there is none.")
    return values


def _shown_first(ratings: npt.NDArray[np.float64], swapped: npt.ArrayLike | None) -> float | None:
    if swapped is None:
        return None
    sides = np.asarray(swapped, np.float64)
    if sides.shape != ratings.shape:
        raise ValueError(f"swapped has shape {sides.shape}, ratings {ratings.shape}; give one side for each rating.")
    chosen = ~np.isnan(ratings) & (ratings != 0) & ~np.isnan(sides)
    if not chosen.any():
        return None
    # Below 0 the first model is preferred, which stood first where nothing was swapped.
    return float(((ratings < 0) ^ (sides > 0))[chosen].mean())


def _share(found: Interval) -> str:
    return f"{100 * found.mean:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _number(found: Interval) -> str:
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
