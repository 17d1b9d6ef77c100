"""Columns of the evaluated rows reach compute_metrics, and with them the accuracy of the worst group."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rows_as_read import RowsAsRead

from hf_guidance import Guidance
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.training.metric_columns import as_array

SINGLE = "single_label_classification"


def groups_by_hand(trainer, rows):
    predicted = trainer.predict(rows).predictions.argmax(-1)
    right = np.array([p == row["labels"][0] for p, row in zip(predicted, rows, strict=True)])
    names = np.array(rows["group"])
    return [right[names == name].mean() for name in sorted(set(names.tolist()))]


def test_the_best_model_is_that_of_the_best_worst_group(trainer_of, model_of, digits):
    metrics = classification_metrics(SINGLE, group="group", train_group_counts={0: 30, 1: 6, 2: 6, 3: 6})
    trainer = trainer_of(
        model_of(), Guidance(), {"compute_metrics": metrics}, num_train_epochs=3, eval_strategy="epoch",
        save_strategy="epoch", metric_for_best_model="eval_worst_group_accuracy", load_best_model_at_end=True,
    )  # fmt: skip
    trainer.train()
    seen = [e["eval_worst_group_accuracy"] for e in trainer.state.log_history if "eval_worst_group_accuracy" in e]
    assert len(seen) == 3
    assert trainer.state.best_metric == max(seen)
    measured, each = trainer.evaluate(), groups_by_hand(trainer, digits["test"])
    assert measured["eval_worst_group_accuracy"] == pytest.approx(min(each)) == trainer.state.best_metric
    assert measured["eval_mean_group_accuracy"] == pytest.approx(np.mean(each))
    assert measured["eval_adjusted_accuracy"] == pytest.approx(np.average(each, weights=[30, 6, 6, 6]))


@pytest.mark.parametrize("batch", [False, True], ids=["whole set", "batch_eval_metrics"])
def test_any_column_is_given(trainer_of, model_of, digits, batch):
    rows, seen = digits["test"].select(range(7)), []

    def compute(prediction, compute_result=True):
        seen.append(prediction)
        return {"count": sum(len(each.label_ids) for each in seen)}

    asked = ["inputs", "image_id", "group", "labels", "objects", "pixel_values", "loss"]
    trainer = trainer_of(
        model_of(), Guidance(), {"compute_metrics": compute}, per_device_eval_batch_size=3, batch_eval_metrics=batch,
        include_for_metrics=asked,
    )  # fmt: skip
    given = trainer.compute_metrics
    assert trainer.evaluate(rows)["eval_count"] == 7
    assert trainer.compute_metrics is given
    assert len(seen) == (3 if batch else 1)

    def joined(name):
        return [value for each in seen for value in list(each.inputs[name])]

    for name in ("image_id", "group", "labels", "objects"):
        assert joined(name) == list(rows[name]), name
    np.testing.assert_allclose(np.stack(joined("pixel_values")), trainer.data_collator(list(rows))["pixel_values"])
    assert seen[0].losses is not None
    assert [len(part) for part in seen[0]] == [len(seen[0].label_ids)] * 2 + [len(seen[0].inputs), len(seen[0].losses)]


def test_without_names_nothing_changes(trainer_of, model_of):
    seen = []
    trainer = trainer_of(model_of(), Guidance(), {"compute_metrics": lambda p: seen.append(p.inputs) or {}},
                         include_for_metrics=["inputs"])  # fmt: skip
    trainer.evaluate()
    assert seen[0].shape == (20, 3, 32, 32)
    assert trainer_of(model_of(), Guidance(), include_for_metrics=["group"]).evaluate()["eval_loss"] > 0


def test_a_column_that_is_not_there_is_refused_at_once(trainer_of, model_of, digits):
    message = r"asks for the column 'grup'.*not every row has it.*the first row has \['group', 'image'"
    for settings in ({"compute_metrics": classification_metrics(SINGLE, group="grup")}, {"compute_metrics": len}):
        with pytest.raises(ValueError, match=message):
            trainer_of(model_of(), Guidance(), settings, include_for_metrics=["grup"])
    settings = {"compute_metrics": classification_metrics(SINGLE, group="group"), "eval_dataset": None}
    trainer = trainer_of(model_of(), Guidance(), settings)
    with pytest.raises(ValueError, match="asks for the column 'group'"):
        trainer.evaluate([{**digits["test"][0]}, {n: v for n, v in digits["test"][1].items() if n != "group"}])


@pytest.mark.parametrize("kind", [list, "torch"])
def test_rows_of_any_kind_are_looked_at_when_the_trainer_is_made(trainer_of, model_of, digits, kind):
    rows = [digits["test"][place] for place in range(3)]
    rows = rows if kind is list else RowsAsRead(rows)
    for sets in (rows, {"one": digits["test"], "other": rows}):
        settings = {"compute_metrics": classification_metrics(SINGLE, group="grup"), "eval_dataset": sets}
        with pytest.raises(ValueError, match="asks for the column 'grup'"):
            trainer_of(model_of(), Guidance(), settings)
    settings = {"compute_metrics": classification_metrics(SINGLE, group="group"), "eval_dataset": rows}
    assert "eval_worst_group_accuracy" in trainer_of(model_of(), Guidance(), settings).evaluate()


def test_rows_without_labels_are_predicted_without_their_metrics(trainer_of, model_of, digits):
    bare = digits["test"].remove_columns([name for name in digits["test"].column_names if name != "image"])
    settings = {"compute_metrics": classification_metrics(SINGLE, group="group")}
    predicted = trainer_of(model_of(), Guidance(), settings).predict(bare)
    expected = trainer_of(model_of(), Guidance()).predict(digits["test"]).predictions
    assert predicted.predictions == pytest.approx(expected)
    assert "test_worst_group_accuracy" not in predicted.metrics
    assert trainer_of(model_of(), Guidance(), settings | {"eval_dataset": bare}).evaluate()["epoch"] == 0


@pytest.mark.parametrize("by", ["arguments", "function"])
def test_one_name_may_be_a_text(trainer_of, model_of, digits, by):
    def compute(prediction):
        return {"groups": float(np.sum(prediction.inputs["group"])), "names": len(prediction.inputs)}

    if by == "function":
        compute.columns = "group"
    settings = {"include_for_metrics": "group"} if by == "arguments" else {}
    found = trainer_of(model_of(), Guidance(), {"compute_metrics": compute}, **settings).evaluate()
    assert (found["eval_groups"], found["eval_names"]) == (sum(digits["test"]["group"]), 1)


def test_the_main_input_must_be_in_the_batch(trainer_of, model_of, monkeypatch):
    model = model_of()
    monkeypatch.setattr(type(model), "main_input_name", "pixels")
    trainer = trainer_of(model, Guidance(), {"compute_metrics": len}, include_for_metrics=["inputs"])
    with pytest.raises(
        ValueError, match=r"'inputs', which is the column 'pixels' .*include_for_metrics=\['pixel_values'\]"
    ):
        trainer.evaluate()


@pytest.mark.parametrize(
    ("values", "kind", "shape"),
    [
        ([1, 2, 3], "i", (3,)), ([1, 2.5], "f", (2,)), ([True, False], "b", (2,)), (["a", "bc"], "U", (2,)),
        ([1, "a"], "O", (2,)), ([None, 1], "O", (2,)), ([[1], [2, 3]], "O", (2,)), ([[1], [2]], "O", (2,)), ([], "O", (0,)),
        ([np.zeros((2, 3)), np.ones((2, 3))], "f", (2, 2, 3)), ([np.zeros(2), np.ones(3)], "O", (2,)),
    ],
)  # fmt: skip
def test_one_entry_for_each_row(values, kind, shape):
    found = as_array(values)
    assert (found.dtype.kind, found.shape) == (kind, shape)
    assert all(np.array_equal(one, other) for one, other in zip(found, values, strict=True))


def test_group_metrics_say_what_they_need():
    class Plain:
        predictions, label_ids, inputs = np.eye(2), np.array([0, 1]), torch.zeros(2)

    with pytest.raises(ValueError, match=r"'group' was not handed over.*include_for_metrics=\['group'\]"):
        classification_metrics(SINGLE, group="group")(Plain)
    with pytest.raises(
        ValueError, match=r"group='group' with multi_label_classification: group accuracy needs one label"
    ):
        classification_metrics("multi_label_classification", group="group")
    with pytest.raises(ValueError, match="train_group_counts weights groups; name their column too"):
        classification_metrics(SINGLE, train_group_counts={0: 1})
    with pytest.raises(ValueError, match="problem_type='regression' is unknown"):
        classification_metrics("regression")
