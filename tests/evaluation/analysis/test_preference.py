"""Which of two models is preferred, against a bootstrap that resamples rows and columns one after the other."""

import numpy as np
import pytest

from hf_guidance.evaluation.analysis import preference

MODELS = ("unguided", "hint")


def drawn(comparisons=30, raters=4, missing=0.0):
    numbers = np.random.default_rng(3)
    ratings = numbers.choice([-2.0, -1, 0, 1, 2], (comparisons, raters), p=[0.1, 0.15, 0.2, 0.3, 0.25])
    ratings[numbers.random(ratings.shape) < missing] = np.nan
    return ratings


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_shares_and_their_intervals(missing):
    ratings = drawn(missing=missing)
    found = preference(ratings, MODELS, samples=4000)
    given = ratings[~np.isnan(ratings)]
    assert found.ratings == len(given)
    assert found.prefer_first.mean == pytest.approx((given < 0).mean())
    assert found.prefer_second.mean == pytest.approx((given > 0).mean())
    assert found.rating.mean == pytest.approx(given.mean())
    assert found.prefer_first.mean + found.equal.mean + found.prefer_second.mean == pytest.approx(1)
    assert sum(found.counts.values()) == len(given)
    numbers, samples = np.random.default_rng(7), []
    for _ in range(4000):
        rows = ratings[numbers.integers(0, 30, 30)][:, numbers.integers(0, 4, 4)]
        samples.append((rows[~np.isnan(rows)] > 0).mean())
    assert (found.prefer_second.low, found.prefer_second.high) == pytest.approx(
        np.quantile(samples, [0.025, 0.975]), abs=0.012
    )
    assert found.rating.low < found.rating.mean < found.rating.high


def test_one_who_prefers_neither():
    found = preference(np.zeros((5, 2)), MODELS, swapped=np.zeros((5, 2), bool), samples=50)
    assert (found.equal.mean, found.equal.low, found.equal.high) == (1, 1, 1)
    assert found.prefer_shown_first is None
    assert "equal: 100.0 % (100.0 to 100.0)" in str(found)


def test_one_who_always_takes_what_stands_first():
    swapped = np.array([[False, True], [True, False], [False, False]])
    ratings = np.where(swapped, 1.0, -1.0)
    assert preference(ratings, MODELS, swapped=swapped, samples=50).prefer_shown_first == 1.0
    assert preference(-ratings, MODELS, swapped=swapped, samples=50).prefer_shown_first == 0.0
    assert preference(ratings, MODELS, samples=50).prefer_shown_first is None


def test_people_and_comparisons_without_ratings_do_not_count():
    ratings = np.full((6, 3), np.nan)
    ratings[:4, :2] = 1
    found = preference(ratings, MODELS, samples=50)
    assert (found.comparisons, found.raters, found.ratings) == (4, 2, 8)


def test_samples_without_a_rating_are_left_out():
    """Two raters of different comparisons: a sample may hold the comparisons of one and the other rater."""
    ratings = np.array([[1.0, np.nan], [np.nan, 2.0]])
    found = preference(ratings, MODELS, samples=200)
    assert (found.rating.mean, found.rating.low, found.rating.high) == (1.5, 1, 2)
    assert "+1.50 (+1.00 to +2.00)" in str(found)


@pytest.mark.parametrize(
    ("ratings", "models", "options", "message"),
    [
        ([[np.nan, np.nan]], MODELS, {}, "no rating yet"),
        ([[3.0]], MODELS, {}, r"ratings hold 3\.0; allowed: \[-2, -1, 0, 1, 2\]"),
        ([[0.5]], MODELS, {}, r"ratings hold 0\.5"),
        ([1.0, 2.0], MODELS, {}, r"shape \(2,\); give \(comparisons, raters\)"),
        ([[1.0]], ("one",), {}, "names of two models"),
        ([[1.0]], ("one", "one"), {}, "names of two models"),
        ([[1.0]], MODELS, {"samples": 0}, "samples=0"),
        ([[1.0]], MODELS, {"level": 95}, "level=95"),
        ([[1.0]], MODELS, {"swapped": [[True, False]]}, r"swapped has shape \(1, 2\)"),
    ],
)
def test_what_is_refused(ratings, models, options, message):
    with pytest.raises(ValueError, match=message):
        preference(ratings, models, **options)
