import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hf_guidance.evaluation.analysis import accuracy_by_plausibility, faithfulness_groups, plot_trends


def test_thresholds_of_the_paper():
    sufficiency = [-0.5, 0.01, 0.0101, 0.2499, 0.25, 0.9]
    assert faithfulness_groups(sufficiency).tolist() == ["best", "best", "middle", "middle", "worst", "worst"]
    comprehensiveness = [-0.5, 0.1999, 0.2, 0.3999, 0.4, 0.9]
    found = faithfulness_groups(comprehensiveness, "comprehensiveness").tolist()
    assert found == ["worst", "worst", "middle", "middle", "best", "best"]
    assert faithfulness_groups([0.2], cuts=(0.3, 0.5)).tolist() == ["best"]


@pytest.mark.parametrize("slope", [-8.0, 0.0, 0.5, 12.0])
def test_matches_scikit_learn(slope):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 2000)
    right = (rng.random(2000) < 1 / (1 + np.exp(-(0.3 + slope * x)))).astype(float)
    trend = accuracy_by_plausibility(right, x, np.full(2000, "best"))["best"]
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x[:, None], right)
    assert trend.converged
    assert trend.intercept == pytest.approx(fit.intercept_[0], abs=1e-4)
    assert trend.slope == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    assert trend.slope_error > 0
    assert trend.probability([0.5])[0] == pytest.approx(fit.predict_proba([[0.5]])[0, 1], abs=1e-5)
    assert abs(trend.slope - slope) < 4 * trend.slope_error


def test_soft_accuracy_is_a_share_of_answers():
    """0.3 right is the same as 3 of 10 copies of the point right."""
    rng = np.random.default_rng(1)
    x, tenths = rng.uniform(-1, 1, 60), rng.integers(0, 11, 60)
    soft = accuracy_by_plausibility(tenths / 10, x, np.full(60, "worst"))["worst"]
    copies = np.concatenate([np.arange(10) < count for count in tenths]).astype(float)
    hard = accuracy_by_plausibility(copies, np.repeat(x, 10), np.full(600, "worst"))["worst"]
    assert (soft.intercept, soft.slope) == pytest.approx((hard.intercept, hard.slope))


def test_groups_bins_and_missing():
    accuracy, plausibility = np.array([1, 0, 1, 0, 1.0]), np.array([0.9, -0.9, 0.05, np.nan, 0.95])
    groups = np.array(["best", "best", "best", "best", "worst"])
    trends = accuracy_by_plausibility(accuracy, plausibility, groups, bins=4)
    assert list(trends) == ["worst", "middle", "best"]
    best = trends["best"]
    assert (best.points, best.share, best.accuracy) == (3, 0.75, pytest.approx(2 / 3))
    assert best.bins.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert np.array_equal(best.bin_accuracy, [0, np.nan, 1, 1], equal_nan=True)
    assert not best.converged  # separated: right exactly where plausibility is high
    assert best.slope > 0
    assert trends["middle"].points == 0
    assert np.isnan(trends["middle"].accuracy)
    assert np.isnan(trends["worst"].slope)  # one point


def test_plot(tmp_path):
    rng = np.random.default_rng(2)
    groups = faithfulness_groups(rng.uniform(-0.2, 0.5, 300))
    trends = accuracy_by_plausibility(rng.integers(0, 2, 300), rng.uniform(-1, 1, 300), groups)
    plot_trends(trends, tmp_path / "trends.png")
    assert (tmp_path / "trends.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: faithfulness_groups([0.1], "plausibility"), "by='plausibility' is unknown"),
        (lambda: faithfulness_groups([np.nan, 0.1]), "1 of 2 values of sufficiency are NaN"),
        (lambda: faithfulness_groups([0.1], cuts=(0.5, 0.1)), "best must be below worst"),
        (lambda: faithfulness_groups([0.1], "comprehensiveness", (0.1, 0.5)), "best must be above worst"),
        (lambda: accuracy_by_plausibility([1, 0], [0.5], ["best"]), "have shapes"),
        (lambda: accuracy_by_plausibility([71.0], [0.5], ["best"]), "not percent"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
