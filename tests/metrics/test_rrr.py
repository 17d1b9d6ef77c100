import numpy as np
import pytest
import torch

GOOD = {
    "important_accuracy": [1.0, 0.3, 0.9],
    "unimportant_confidence": [0.2, 0.4, 1.0],
    "invariance": [[True, False, True], [True, True, True], [True, True, True]],
    "has_important": [True, True, False],
}


def test_points_without_importance(load):
    """The paper leaves them out, the official code counts them."""
    paper = load("rrr").compute(**GOOD)
    assert paper == {
        "rrr_suff": pytest.approx(0.65),
        "rrr_unc": pytest.approx(0.3),
        "rrr_inv": pytest.approx(5 / 6),
        "excluded_share": pytest.approx(1 / 3),
    }
    official = load("rrr").compute(**GOOD, without_important="keep")
    assert official["rrr_suff"] == pytest.approx(2.2 / 3)
    assert official["rrr_unc"] == pytest.approx(1.6 / 3)
    assert official["rrr_inv"] == pytest.approx(8 / 9)
    assert official["excluded_share"] == 0
    default = load("rrr").compute(**{name: column for name, column in GOOD.items() if name != "has_important"})
    assert default == official


def test_matches_numpy(load):
    rng = np.random.default_rng(0)
    given = {
        "important_accuracy": rng.choice([0, 0.3, 0.6, 0.9, 1], 200),
        "unimportant_confidence": rng.random(200),
        "invariance": rng.random((200, 3)) > 0.4,
        "has_important": rng.random(200) > 0.1,
    }
    some = given["has_important"]
    found = load("rrr").compute(**given)
    assert found["rrr_suff"] == pytest.approx(given["important_accuracy"][some].mean())
    assert found["rrr_unc"] == pytest.approx(given["unimportant_confidence"][some].mean())
    assert found["rrr_inv"] == pytest.approx(given["invariance"][some].mean())
    assert found["excluded_share"] == pytest.approx(1 - some.mean())
    means = given | {"invariance": given["invariance"].mean(1)}
    tensors = {name: torch.as_tensor(column) for name, column in given.items()}
    for other in (means, tensors, {name: column.tolist() for name, column in given.items()}):
        assert load("rrr").compute(**other) == found


def test_nothing_important(load):
    found = load("rrr").compute(**GOOD | {"has_important": [False] * 3})
    assert found == {"rrr_suff": None, "rrr_unc": None, "rrr_inv": None, "excluded_share": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"important_accuracy": [1.0, 71.0, 0.0]},
            r"important_accuracy\[1\] is 71\.0; allowed are numbers in \[0, 1\]",
        ),
        ({"unimportant_confidence": [np.nan, 0.1, 0.1]}, r"unimportant_confidence\[0\] is nan"),
        ({"important_accuracy": [[1.0], 0.0, 0.0]}, r"important_accuracy\[0\] has shape \(1,\)"),
        ({"invariance": [[], [1], [1]]}, r"invariance\[0\] has shape \(0,\)"),
        ({"invariance": [["a"], [1], [1]]}, r"invariance\[0\] is \['a'\]"),
        ({"has_important": [0.5, 1, 1]}, r"has_important\[0\] is 0\.5; allowed are True and False"),
        ({"has_important": [True]}, "3 invariance, 1 has_important"),
        ({"invariance": None}, r"\['invariance'\] is missing"),
    ],
)
def test_bad_rows(load, change, message):
    metric = load("rrr")
    with pytest.raises(ValueError, match=message):
        metric.add_batch(**{**GOOD, **change})
    assert len(metric) == 0
    metric.add_batch(**GOOD)
    with pytest.raises(ValueError, match="without_important is 'zero'"):
        metric.compute(without_important="zero")
    assert metric.compute() == load("rrr").compute(**GOOD)


@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_bad_calls(load, keep_in_memory):
    metric = load("rrr", keep_in_memory=keep_in_memory)
    with pytest.raises(ValueError, match="No data point was added"):
        metric.compute()
    with pytest.raises(ValueError, match=r"\['predictions'\] is unknown; allowed are \['important_accuracy'"):
        metric.compute(predictions=[1], important_accuracy=[1])
