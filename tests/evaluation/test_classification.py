"""F1 and mAP against the golden numbers and scikit-learn, and the threshold that is chosen on training data."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from hf_guidance import ParetoCheckpoints
from hf_guidance.evaluation.classification import (
    average_precisions,
    best_threshold,
    classification_metrics,
    mean_average_precision,
    micro_f1,
    micro_scores,
)


def decisions(case=0):
    generator = np.random.default_rng(case)
    labels = generator.random((50, 7)) < 0.3
    labels[:, 2] = False
    return np.round(generator.normal(size=(50, 7)) + labels, 1), labels  # many equal logits, some exactly 0


def test_golden_f1(golden, agree):
    numbers = golden("model_guidance/metric_f1_map")
    for case in range(int(numbers["n_cases"])):
        logits, labels = numbers[f"c{case}_logits"], numbers[f"c{case}_labels"]
        scores = micro_scores(logits, labels)
        for name in ("accuracy", "precision", "recall"):
            agree("model_guidance/metric_f1_map", scores[name], numbers[f"c{case}_{name}"], 1e-6)
        agree("model_guidance/metric_f1_map", micro_f1(logits, labels), numbers[f"c{case}_f_score"], 1e-6)
        counts = {name: float(numbers[f"c{case}_{name}s"]) for name in ("true_positive", "false_positive")}
        missed = {name: float(numbers[f"c{case}_{name}s"]) for name in ("true_negative", "false_negative")}
        total = sum(counts.values()) + sum(missed.values())
        assert total == labels.size
        assert scores["accuracy"] * total == pytest.approx(counts["true_positive"] + missed["true_negative"])
        assert scores["precision"] * sum(counts.values()) == pytest.approx(counts["true_positive"])
        assert scores["recall"] * labels.sum() == pytest.approx(counts["true_positive"])


@pytest.mark.parametrize(
    ("interpolation", "each", "mean"),
    [("none", "ap_sklearn", "map_macro_skip_empty"), ("eleven_point", "ap_voc11", "map_voc11_skip_empty")],
)
def test_golden_map(golden, agree, interpolation, each, mean):
    numbers = golden("model_guidance/metric_f1_map")
    for case in range(int(numbers["n_cases"])):
        logits, labels = numbers[f"c{case}_logits"], numbers[f"c{case}_labels"]
        found, expected = average_precisions(logits, labels, interpolation), numbers[f"c{case}_{each}"]
        assert (np.isnan(found) == np.isnan(expected)).all()
        agree("model_guidance/metric_f1_map", np.nan_to_num(found), np.nan_to_num(expected), 1e-9)
        found = np.float64(mean_average_precision(logits, labels, interpolation))
        agree("model_guidance/metric_f1_map", found, numbers[f"c{case}_{mean}"], 1e-9)


@pytest.mark.parametrize("threshold", [-9, -0.5, 0.0, 0.7, 9])
def test_matches_scikit_learn(threshold):
    logits, labels = decisions()
    expected = f1_score(labels, logits >= threshold, average="micro", zero_division=0)
    assert micro_f1(logits, labels, threshold) == pytest.approx(expected, rel=1e-12)
    each = np.linspace(-1, 1, 7)
    expected = f1_score(labels, logits >= each, average="micro")
    assert micro_f1(logits, labels, each) == pytest.approx(expected, rel=1e-12)
    present = labels.any(0)
    expected = average_precision_score(labels[:, present], logits[:, present], average="macro")
    assert mean_average_precision(logits, labels) == pytest.approx(expected, rel=1e-12)


def test_eleven_points_by_hand():
    """Ranked: right, wrong, right. Precision 1 up to recall 1/2 (6 points), then 2/3 (5 points)."""
    found = average_precisions([[3.0], [2.0], [1.0]], [[1], [0], [1]], "eleven_point")
    assert found.tolist() == [pytest.approx((6 * 1 + 5 * 2 / 3) / 11)]


def test_a_share_of_nothing_is_zero():
    none = {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert micro_scores([[-1.0]], [[0]]) == none
    assert micro_scores([[1.0]], [[0]]) == none | {"accuracy": 0.0}


def test_the_chosen_threshold_undoes_a_shift_of_the_logits():
    generator = np.random.default_rng(0)
    labels = generator.random((200, 4)) < 0.4
    logits = np.where(labels, 1.0, -1.0) + generator.normal(size=(200, 4)) * 0.3
    assert micro_f1(logits - 3, labels) < 0.1
    assert micro_f1(logits - 3, labels, best_threshold(logits - 3, labels)) > 0.98


def test_compute_metrics():
    class Output:
        predictions, label_ids = decisions()

    found = classification_metrics("multi_label_classification")(Output)
    assert found == {"f1": micro_f1(*decisions()), "map": mean_average_precision(*decisions())}
    Output.label_ids = Output.predictions.argmax(-1)
    assert classification_metrics("single_label_classification")(Output) == {"accuracy": 1.0}


def test_a_split_without_labels_does_not_end_training(tmp_path):
    class Output:
        predictions, label_ids = np.array([[1.0, -1.0]]), np.zeros((1, 2))

    found = classification_metrics("multi_label_classification")(Output)
    assert found["f1"] == 0.0
    assert np.isnan(found["map"])
    front = ParetoCheckpoints(metrics=("eval_f1", "eval_map"))
    front.on_train_begin(*_trainer(tmp_path), model=_Saved())
    front.on_evaluate(*_trainer(tmp_path), metrics={f"eval_{name}": value for name, value in found.items()})
    record = json.loads((tmp_path / "pareto" / "pareto.json").read_text())
    assert record["points"] == [{"step": 0, "epoch": 0.0, "eval_f1": 0.0, "eval_map": None}]
    assert record["members"] == []


def test_a_diverged_model_is_still_an_error_without_labels():
    class Output:
        predictions, label_ids = np.array([[np.nan, -1.0]]), np.zeros((1, 2))

    with pytest.raises(ValueError, match="the model has diverged"):
        classification_metrics("multi_label_classification")(Output)


class _Saved:
    def save_pretrained(self, folder):
        raise AssertionError("a model of undefined metrics was saved")


def _trainer(folder):
    return (
        SimpleNamespace(output_dir=str(folder), eval_strategy="epoch"),
        SimpleNamespace(global_step=0, epoch=0.0, is_world_process_zero=True, is_hyper_param_search=False),
        None,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2))), "no class has a positive"),
        (lambda: average_precisions([[1.0]], [[1]], "voc"), "interpolation='voc'; choose 'none' or 'eleven_point'"),
        (lambda: micro_f1(np.zeros((3, 2)), np.zeros((2, 3))), r"logits have shape \(3, 2\), labels \(2, 3\)"),
        (lambda: micro_f1(np.zeros((0, 2)), np.zeros((0, 2))), "at least one of each"),
        (lambda: micro_f1(np.zeros(3), np.zeros(3)), r"give both as \(images, classes\)"),
        (lambda: micro_f1([[np.nan, 1.0]], [[0, 1]]), "1 of 2 logits are NaN: the model has diverged"),
        (lambda: best_threshold([[0.0, 1.0]], [[0, 2]]), "labels hold values other than 0 and 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("labels", [np.array([0, 1, 1]), np.array([[0], [1], [1]])])
def test_one_label_per_image_in_either_shape(labels):
    prediction = SimpleNamespace(predictions=np.eye(2)[[0, 1, 0]], label_ids=labels)
    assert classification_metrics("single_label_classification")(prediction) == {"accuracy": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [
        (np.array([0, 1, 0]), np.array([0, 1, 1])),  # of preprocess_logits_for_metrics
        (np.eye(2)[[0, 1, 0]], np.eye(2)[[0, 1, 1]]),
        (np.eye(2)[[0, 1, 0]], (np.array([0, 1, 1]), np.array([0, 1, 1]))),  # of two label_names
        ((np.eye(2), np.eye(2)), np.array([0, 1])),
        ((np.eye(2), np.zeros((2, 4))), np.array([0, 1])),  # of several outputs
        ((np.eye(2), (np.zeros((2, 4)), np.zeros((2, 4, 4)))), np.array([0, 1])),
        (np.eye(2), (np.array([0, 1]), np.zeros((2, 4)))),
        ((np.zeros(3), np.zeros(2)), (np.zeros(3),)),
    ],
)
def test_other_shapes_are_refused_not_broadcast(predictions, labels):
    prediction = SimpleNamespace(predictions=predictions, label_ids=labels)
    with pytest.raises(ValueError, match=r"predictions have shape .*give logits as \(images, classes\)"):
        classification_metrics("single_label_classification")(prediction)


@pytest.mark.parametrize("several", [0, 1])
def test_several_outputs_or_labels_are_refused_as_multi_hot(several):
    values = [np.eye(2), np.eye(2)]
    values[several] = (np.eye(2), np.zeros((2, 4)))
    prediction = SimpleNamespace(predictions=values[0], label_ids=values[1])
    with pytest.raises(ValueError, match=r"are no array: .*give both as \(images, classes\)"):
        classification_metrics("multi_label_classification")(prediction)
