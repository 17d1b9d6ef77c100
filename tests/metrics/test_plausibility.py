import numpy as np
import pytest
import torch
from scipy.stats import spearmanr


def vectors(ties=False, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 40, 30)
    attributions = [rng.integers(-2, 3, n) / 2 if ties else rng.normal(size=n) for n in lengths]
    importances = [np.round(rng.random(n), 1 if ties else 8) for n in lengths]
    attributions[3] = np.zeros(lengths[3])
    importances[7] = np.ones(lengths[7])
    attributions[9], importances[9] = np.array([1.0]), np.array([0.5])
    return attributions, importances


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ties", [False, True])
def test_matches_scipy(load, ties):
    attributions, importances = vectors(ties)
    each = [
        spearmanr(*pair).statistic if len(pair[0]) > 1 else np.nan
        for pair in zip(attributions, importances, strict=True)
    ]
    found = load("plausibility").compute(predictions=attributions, references=importances)
    assert found["plausibility"] == pytest.approx(np.nanmean(each), rel=1e-12)
    assert found["undefined_share"] == pytest.approx(np.mean(np.isnan(each)))


def test_perfect_and_opposite_order_are_exact(load):
    rng = np.random.default_rng(1)
    values = [rng.normal(size=n) for n in (2, 3, 7, 36)]
    metric = load("plausibility")
    assert metric.compute(predictions=[np.exp(v) for v in values], references=values)["plausibility"] == 1.0
    assert metric.compute(predictions=[-v for v in values], references=values)["plausibility"] == -1.0


def test_nothing_defined(load):
    found = load("plausibility").compute(predictions=[[1.0, 1.0], [0.3]], references=[[0.0, 1.0], [1.0]])
    assert found == {"plausibility": None, "undefined_share": 1.0}


def test_kinds_of_input(load):
    attributions = torch.tensor([[3.0, 1.0, -2.0], [0.5, 0.25, 1.0]], dtype=torch.bfloat16, requires_grad=True)
    importances = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0]])
    expected = load("plausibility").compute(predictions=attributions.tolist(), references=importances.tolist())
    for given in (
        (attributions, importances),
        (list(attributions), importances.numpy()),
        (importances.numpy(), attributions),
    ):
        assert load("plausibility").compute(predictions=given[0], references=given[1]) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        ([1, 2], [1, 2, 3], r"predictions\[1\] has 2 places but references\[1\] has 3.*padding"),
        ([[1, 2]], [1, 2], r"predictions\[1\] has shape \(1, 2\).*flatten a map"),
        ([], [], r"predictions\[1\] has shape \(0,\)"),
        ([1, np.nan], [1, 2], r"predictions\[1\] holds NaN or infinity in 1 of 2 places"),
        ([1, 2], [1, np.inf], r"references\[1\] holds NaN"),
        (["a"], [1], r"predictions\[1\] is not an array of numbers"),
        (None, [1], r"predictions\[1\] has shape \(\)"),
    ],
)
def test_bad_rows(load, prediction, reference, message):
    metric = load("plausibility")
    metric.add(prediction=[1, 2], reference=[1, 2])
    with pytest.raises(ValueError, match=message):
        metric.add_batch(predictions=[[1, 2], prediction][1:], references=[reference])
    assert metric.compute() == {"plausibility": 1.0, "undefined_share": 0.0}


def test_bad_batches(load):
    metric = load("plausibility")
    with pytest.raises(ValueError, match="2 predictions and 1 references"):
        metric.compute(predictions=[[1, 2], [1, 2]], references=[[1, 2]])
    with pytest.raises(ValueError, match="references is of type NoneType"):
        metric.compute(predictions=[[1, 2]])
    with pytest.raises(ValueError, match="No pair was added"):
        metric.compute(predictions=[], references=[])
