import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from hf_guidance.evaluation.analysis import PREDICTORS, predict_ood
from hf_guidance.evaluation.analysis.ood_prediction import _correlations

NAMES = sorted({name for used in PREDICTORS.values() for name in used})


def models(count=100, seed=0):
    """Accuracy and confidence predict the shifted accuracy; the other metrics are noise."""
    rng = np.random.default_rng(seed)
    metrics = {name: rng.normal(size=count) * 10.0 ** rng.integers(-2, 3) for name in NAMES}
    metrics["accuracy"] = 0.6 + 0.02 * rng.normal(size=count)
    metrics["full_probability"] = 0.7 + 0.1 * rng.normal(size=count)
    shifted = metrics["accuracy"] + 0.1 * metrics["full_probability"] + 0.005 * rng.normal(size=count)
    return metrics, shifted


def test_matches_scikit_learn():
    metrics, truth = models(30)
    features = np.stack([metrics[name] for name in PREDICTORS["all metrics"]], axis=1)
    orders = np.random.default_rng(1).permuted(np.tile(np.arange(30), (25, 1)), axis=1)
    found = _correlations(features, truth, orders, 24)
    for split, order in enumerate(orders):
        fit = LinearRegression().fit(features[order[:24]], truth[order[:24]])
        for part, chosen in enumerate((order[:24], order[24:])):
            expected = np.corrcoef(fit.predict(features[chosen]), truth[chosen])[0, 1]
            assert found[part, split] == pytest.approx(expected, rel=1e-7)


def test_finds_what_predicts(monkeypatch):
    metrics, truth = models()
    found = predict_ood(metrics, truth, splits=500)
    assert set(found) == set(PREDICTORS)
    assert found["ID accuracy"].test > 0.7
    assert found["+ confidence"].test > found["ID accuracy"].test
    assert abs(found["RRR-Suff"].test) < 0.5
    for correlation in found.values():
        assert correlation.test_low <= correlation.test <= correlation.test_high
        assert correlation.undefined == 0
    assert found["all metrics"].train >= found["+ confidence"].train  # more metrics never fit worse
    assert found["ID accuracy"].test_high - found["ID accuracy"].test_low > 0.05  # of ten models each
    assert predict_ood(metrics, truth, splits=500) == found
    monkeypatch.setattr("hf_guidance.evaluation.analysis.ood_prediction._CHUNK", 5000)
    assert predict_ood(metrics, truth, splits=500)["all metrics"].test == pytest.approx(found["all metrics"].test)


def test_scale_and_collinear_metrics_do_not_matter():
    metrics, truth = models()
    one = predict_ood(metrics, truth, splits=50, predictors={"a": ("accuracy",)})["a"]
    percent = {"x": 100 * metrics["accuracy"] + 7, "same": metrics["accuracy"]}
    two = predict_ood(percent, truth, splits=50, predictors={"a": ("x", "same")})["a"]
    assert two.test == pytest.approx(one.test, rel=1e-9)


def test_constant_metric_is_undefined():
    _, truth = models(40)
    found = predict_ood({"x": np.ones(40)}, truth, splits=20, predictors={"x": ("x",)})["x"]
    assert found.undefined == 20
    assert np.isnan(found.test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictors": {"a": ("acc",)}}, r"predictors\['a'\] names \['acc'\]; given metrics are"),
        ({"predictors": {"a": ()}}, "names nothing"),
        ({"train_share": 0.02}, "2 models to train for 1 metrics"),
        ({"train_share": 0.99}, "100 models leave 1 to test"),
        ({"ood_accuracy": np.full(100, np.nan)}, "ood_accuracy has shape"),
        ({"ood_accuracy": np.ones(99)}, r"has shape \(100,\); allowed is \(99,\)"),
    ],
)
def test_bad_input(change, message):
    metrics, truth = models()
    options = {"metrics": metrics, "ood_accuracy": truth, "predictors": {"a": ("accuracy",)}, "splits": 5} | change
    with pytest.raises(ValueError, match=message):
        predict_ood(**options)
