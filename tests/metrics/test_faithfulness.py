import numpy as np
import pytest
import torch


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    columns = {"full_probability": rng.random(50)}
    return columns | {name: rng.random((50, 3)) for name in ("kept_probabilities", "removed_probabilities")}


def test_matches_numpy(load, given):
    found = load("faithfulness").compute(**given)
    full = given["full_probability"][:, None]
    assert found["sufficiency"] == pytest.approx((full - given["kept_probabilities"]).mean(1).mean(), rel=1e-12)
    assert found["comprehensiveness"] == pytest.approx((full - given["removed_probabilities"]).mean(), rel=1e-12)
    tensors = {name: torch.as_tensor(column) for name, column in given.items()}
    for other in (tensors, {name: list(column) for name, column in given.items()}):
        assert load("faithfulness").compute(**other) == found
    single = {name: torch.as_tensor(column).bfloat16() for name, column in given.items()}
    assert load("faithfulness").compute(**single)["sufficiency"] == pytest.approx(found["sufficiency"], abs=0.01)


def test_every_level_counts_within_its_point(load):
    """Points may have other numbers of levels; each point counts once."""
    found = load("faithfulness").compute(
        full_probability=[1.0, 1.0], kept_probabilities=[[0.0], [1.0, 0.5]], removed_probabilities=[[1.0], [0.0, 0.0]]
    )
    assert found == {"sufficiency": 0.625, "comprehensiveness": 0.5}


def test_range(load):
    best = {"full_probability": [1.0], "kept_probabilities": [[1.0]], "removed_probabilities": [[0.0]]}
    assert load("faithfulness").compute(**best) == {"sufficiency": 0.0, "comprehensiveness": 1.0}
    gained = {"full_probability": [0.0], "kept_probabilities": [[1.0]], "removed_probabilities": [[1.0]]}
    assert load("faithfulness").compute(**gained) == {"sufficiency": -1.0, "comprehensiveness": -1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"full_probability": [2.5]},
            r"full_probability\[1\] is 2\.5; allowed are numbers in \[0, 1\]: prob.*not logits",
        ),
        ({"full_probability": [[0.5]]}, r"full_probability\[1\] has shape \(1,\); allowed is \(\), one number"),
        ({"kept_probabilities": [0.5]}, r"kept_probabilities\[1\] has shape \(\); allowed is \(levels,\)"),
        ({"kept_probabilities": [[]]}, r"kept_probabilities\[1\] has shape \(0,\)"),
        ({"removed_probabilities": [[0.1, 0.2]]}, r"kept_probabilities\[1\] has 1 levels but removed_.*has 2"),
        ({"removed_probabilities": [[float("nan")]]}, r"removed_probabilities\[1\] is \[nan\]"),
        ({"removed_probabilities": None}, r"\['removed_probabilities'\] is missing"),
        ({"full_probability": [0.5, 0.5]}, "2 full_probability, 1 kept_probabilities"),
    ],
)
def test_bad_rows(load, change, message):
    metric = load("faithfulness")
    good = {"full_probability": [0.5], "kept_probabilities": [[0.5]], "removed_probabilities": [[0.25]]}
    metric.add_batch(**good)
    with pytest.raises(ValueError, match=message):
        metric.add_batch(**{**good, **change})
    assert metric.compute() == {"sufficiency": 0.0, "comprehensiveness": 0.25}


@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_nothing_added(load, keep_in_memory):
    with pytest.raises(ValueError, match="No data point was added"):
        load("faithfulness", keep_in_memory=keep_in_memory).compute()
