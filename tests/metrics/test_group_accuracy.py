import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, recall_score


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 200), rng.choice(12, 200)
    return {"predictions": rng.integers(0, 3, 200), "references": labels, "groups": groups}


def test_matches_third_party_code(load, golden):
    data = golden("metric_group_accuracy")
    assert data["group"].tolist() == (2 * data["y"] + data["place"]).tolist()
    result = load("group_accuracy").compute(
        predictions=data["logits"].argmax(-1), references=data["y"], groups=data["group"]
    )
    assert [result["groups"][str(g)]["accuracy"] for g in range(4)] == pytest.approx(data["group_accuracy"], abs=1e-6)
    assert result["worst_group_accuracy"] == pytest.approx(float(data["worst_group_accuracy"]), abs=1e-6)
    assert result["mean_group_accuracy"] == pytest.approx(float(data["balanced_mean_of_groups"]), abs=1e-6)
    assert result["accuracy"] == pytest.approx(float(data["overall_accuracy"]), abs=1e-6)


def test_matches_scikit_learn(load, samples):
    predictions, references, groups = samples.values()
    result = load("group_accuracy").compute(**samples)
    names = sorted(set(groups.tolist()))
    per_group = [accuracy_score(references[groups == g], predictions[groups == g]) for g in names]
    assert list(result["groups"]) == [str(g) for g in names]
    assert [group["accuracy"] for group in result["groups"].values()] == pytest.approx(per_group)
    assert [group["count"] for group in result["groups"].values()] == np.bincount(groups).tolist()
    assert result["accuracy"] == result["adjusted_accuracy"] == pytest.approx(accuracy_score(references, predictions))
    by_class = load("group_accuracy").compute(predictions=predictions, references=references, groups=references)
    recall = recall_score(references, predictions, average="macro")  # groups that are the classes
    assert by_class["mean_group_accuracy"] == pytest.approx(recall)


def test_adjusted_by_training_sizes(load):
    data = {"predictions": [1, 0, 1, 0], "references": [1, 1, 1, 0], "groups": [0, 0, 1, 1]}
    result = load("group_accuracy").compute(**data, train_group_counts={0: 30, 1: np.int64(10), 7: 60})
    assert result["adjusted_accuracy"] == (30 * 0.5 + 10 * 1.0) / 40
    assert result["groups"]["7"] == {"accuracy": None, "count": 0}
    assert result["worst_group_accuracy"] == 0.5
    assert result["mean_group_accuracy"] == 0.75
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({0: 3}, "every evaluated group"),
        ({0: 0, 1: 0}, "not all of them 0"),
        ({0: -1, 1: 2}, r"\{'0': -1\}; allowed are finite numbers"),
        ({0: float("nan"), 1: 2}, "allowed are finite numbers"),
        ({0: "3", 1: 2}, "allowed are finite numbers"),
        ([3, 4], "allowed is {group: training samples}"),
    ],
)
def test_bad_training_counts(load, counts, message):
    metric = load("group_accuracy")
    data = {"predictions": [1, 0], "references": [1, 1], "groups": [0, 1]}
    with pytest.raises(ValueError, match=message):
        metric.compute(**data, train_group_counts=counts)
    assert metric.compute(**data)["accuracy"] == 0.5  # the module is still usable


def test_kinds_of_input(load, samples):
    expected = load("group_accuracy").compute(**samples)
    tensors = {name: torch.as_tensor(column) for name, column in samples.items()}
    lists = {name: column.tolist() for name, column in samples.items()}
    floats = {name: column.astype(np.float32) for name, column in samples.items()}
    items = {name: list(column) for name, column in tensors.items()}
    for given in (tensors, lists, floats, items, {**lists, "groups": [str(g) for g in samples["groups"]]}):
        assert load("group_accuracy").compute(**given) == expected
    one_by_one = load("group_accuracy")
    for prediction, reference, group in zip(*samples.values(), strict=True):
        one_by_one.add(prediction=prediction, reference=reference, groups=group)
    assert one_by_one.compute() == expected
    order = np.random.default_rng(1).permutation(200)
    assert load("group_accuracy").compute(**{name: column[order] for name, column in samples.items()}) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": None}, r"\['groups'\] is missing"),
        ({"groups": [0]}, "2 predictions, 2 references, 1 groups"),
        ({"groups": [0, None]}, r"groups\[1\] is None; allowed is an integer or a string"),
        ({"predictions": [[0.1, 0.9], [0.3, 0.7]]}, r"predictions\[0\] has shape \(2,\).*argmax"),
        ({"predictions": [1, 0.5]}, r"predictions\[1\] is 0\.5; allowed is an integer"),
        ({"references": [float("nan"), 1]}, r"references\[0\] is nan; allowed is an integer"),
        ({"references": ["cat", 1]}, r"references\[0\] is 'cat'; allowed is an integer"),
    ],
)
def test_bad_rows(load, change, message):
    metric = load("group_accuracy")
    good = {"predictions": [1, 0], "references": [1, 1], "groups": [0, 1]}
    with pytest.raises(ValueError, match=message):
        metric.add_batch(**{**good, **change})
    assert len(metric) == 0
    metric.add_batch(**good)
    assert metric.compute()["accuracy"] == 0.5


@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_nothing_added(load, keep_in_memory):
    for inputs in ({}, {"predictions": [], "references": [], "groups": []}):
        with pytest.raises(ValueError, match="No sample was added"):
            load("group_accuracy", keep_in_memory=keep_in_memory).compute(**inputs)


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("name", ["waterbirds", "celeba"])
def test_matches_the_released_code_of_crayon(load, golden, name, case):
    """Its mean over groups of Biased CelebA is that of all samples, which is the same where groups are equally large."""
    data = golden(f"crayon_wga_mga_{name}", "crayon_sort")
    logits, labels, attribute, worst, mean, accuracy = (
        data[f"c{case}__{part}"] for part in ("logits", "y", "group_attr", "wga_percent", "mga_percent", "acc")
    )
    result = load("group_accuracy").compute(
        predictions=logits.argmax(-1), references=labels, groups=2 * labels + attribute
    )
    assert 100 * result["worst_group_accuracy"] == pytest.approx(float(worst), abs=1e-9)
    over = "mean_group_accuracy" if name == "waterbirds" else "accuracy"
    assert 100 * result[over] == pytest.approx(float(mean), abs=1e-9)
    assert result["accuracy"] == pytest.approx(float(accuracy), abs=1e-9)
