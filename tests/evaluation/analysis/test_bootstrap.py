import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from hf_guidance.evaluation.analysis import bootstrap_mean, compare, point_grid


@pytest.mark.parametrize("case", [0, 1])
def test_matches_formula_of_the_official_script(golden, agree, case):
    data = golden("visfis/bootstrap")
    part = {name.partition("__")[2]: data[name] for name in data.files if name.startswith(f"c{case}__")}
    found = bootstrap_mean(part["grid"], draws=(part["row_idx"], part["col_idx"]))
    for ours, theirs in (
        (found.estimate, "mean"),
        (found.low, "ci_low"),
        (found.high, "ci_high"),
        (found.half_width, "ci_halfwidth"),
        (found.p_value, "p_value"),
    ):
        agree("visfis/bootstrap", np.asarray(ours), part[theirs])


@pytest.mark.parametrize("missing", [False, True])
def test_matches_loops(missing):
    rng = np.random.default_rng(0)
    grid = rng.normal(0.2, 1, (30, 4))
    if missing:
        grid[rng.random(grid.shape) < 0.2] = np.nan
    rows, columns = rng.integers(0, 30, (50, 30)), rng.integers(0, 4, (50, 4))
    statistics = np.array([np.nanmean(grid[r][:, c]) for r, c in zip(rows, columns, strict=True)])
    found = bootstrap_mean(grid, draws=(rows, columns), missing="drop", level=0.9)
    mean = statistics.mean()
    assert found.estimate == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(statistics, [0.05, 0.95])))
    centred = statistics - mean
    assert found.p_value == np.mean(centred < -abs(mean)) + np.mean(centred > abs(mean))


def test_agrees_with_scipy_on_one_seed():
    values = np.random.default_rng(1).normal(size=400)
    theirs = scipy_bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", random_state=np.random.default_rng(2), batch=500
    )
    ours = bootstrap_mean(values, samples=5000)
    assert ours.estimate == pytest.approx(values.mean(), abs=0.003)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_interval_holds_the_truth():
    """Points and seeds vary: 95 % intervals hold the true mean in about 95 % of the experiments."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(200):
        grid = 0.5 + rng.normal(size=(60, 1)) + rng.normal(size=(1, 20)) * 0.2 + rng.normal(size=(60, 20))
        found = bootstrap_mean(grid, samples=400)
        held += found.low <= 0.5 <= found.high
    assert 0.88 < held / 200 <= 1


def test_draws_do_not_depend_on_chunks(monkeypatch):
    """Statistics of other chunks are other draws, but of one distribution; equal seeds give equal results."""
    grid = np.random.default_rng(4).normal(size=(50, 3))
    whole = bootstrap_mean(grid, samples=3000)
    assert whole == bootstrap_mean(grid, samples=3000)
    assert whole != bootstrap_mean(grid, samples=3000, seed=1)
    monkeypatch.setattr("hf_guidance.evaluation.analysis.bootstrap._CHUNK", 1000)
    parts = bootstrap_mean(grid, samples=3000)
    assert parts.half_width == pytest.approx(whole.half_width, rel=0.1)


def test_compare_is_paired():
    rng = np.random.default_rng(5)
    difficulty = rng.normal(size=(300, 1)) * 10
    worse, better = difficulty + rng.normal(size=(300, 5)) * 0.1, difficulty + 0.05 + rng.normal(size=(300, 5)) * 0.1
    found = compare(better, worse, samples=2000)
    assert found.low > 0
    assert found.p_value < 0.01
    same = compare(worse + rng.normal(size=(300, 5)) * 0.1, worse, samples=2000)
    assert same.low < 0 < same.high
    assert same.p_value > 0.05
    nothing = compare(worse, worse, samples=100)
    assert (nothing.estimate, nothing.half_width, nothing.p_value) == (0, 0, 0)


def test_point_grid_aligns_questions():
    runs = [{"a": 1.0, "b": 0.0, "c": 0.5}, {"c": 0.25, "a": 0.0, "b": 1.0}]
    assert point_grid(runs).tolist() == [[1, 0], [0, 1], [0.5, 0.25]]
    with pytest.raises(ValueError, match=r"run 1 differs from run 0 in 1 questions, as \['c'\]"):
        point_grid([runs[0], {"a": 0.0, "b": 1.0}])
    with pytest.raises(ValueError, match="runs is empty"):
        point_grid([])


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        (np.zeros((0, 3)), {}, r"grid has shape \(0, 3\)"),
        (np.zeros((2, 3, 1)), {}, r"grid has shape \(2, 3, 1\)"),
        ([[1.0, np.nan]], {}, "missing='refuse', and 1 of 2 scores are NaN; choose 'drop'"),
        ([1.0], {"missing": "zero"}, "missing='zero'"),
        ([1.0], {"samples": 0}, "samples=0"),
        ([1.0], {"level": 95}, "level=95"),
        ([np.nan, np.nan], {"missing": "drop", "samples": 3}, "no score at all"),
        (np.ones((2, 3)), {"draws": ([[0, 1]], [[0, 1]])}, "draws of 2 points and 2 seeds do not fit"),
        (np.ones((2, 3)), {"draws": ([[0, 1]], [0, 1, 2])}, "draws have shapes"),
    ],
)
def test_bad_input(grid, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(grid, **options)


def test_compare_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"first has shape \(2, 3\), second \(2,\)"):
        compare(np.ones((2, 3)), np.ones(2))
