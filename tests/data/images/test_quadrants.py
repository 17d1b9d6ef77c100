"""Quadrants: from answers, labels and predictions to a column of rows, and on to a column of batches."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch

from hf_guidance import GuidanceCollator
from hf_guidance.data.images.quadrants import quadrant, with_quadrants


def rows(answers=("no", "no", "yes", "yes", "maybe", None), **columns):
    return datasets.Dataset.from_dict({"label": [0, 1, 0, 1, 0, 1][: len(answers)], "answer": list(answers)} | columns)


@pytest.mark.parametrize(
    ("answer", "right", "expected"),
    [("no", False, 0), ("no", True, 1), ("yes", False, 2), ("yes", True, 3), ("maybe", True, 3), (None, False, 3)],
)
def test_the_matrix(answer, right, expected):
    assert quadrant(answer, right) == expected


@pytest.mark.parametrize("predictions", [[1] * 6, np.ones(6, np.int64), torch.ones(6, dtype=torch.int64)], ids=type)
@pytest.mark.parametrize("form", [None, "numpy", "torch"])
def test_column_from_answers_labels_and_predictions(predictions, form):
    found = with_quadrants(rows().with_format(form), predictions)
    assert found.with_format(None)["quadrant"][:] == [0, 1, 2, 3, 3, 3]
    assert with_quadrants(found, [0] * 6).with_format(None)["quadrant"][:] == [1, 0, 3, 2, 3, 3]  # replaced


def test_labels_may_be_lists_of_one():
    found = with_quadrants(rows(labels=[[1], [0], [1], [0], [1], [0]]), [1] * 6)
    assert found["quadrant"][:] == [1, 0, 3, 2, 3, 3]


def test_data_that_nobody_judged():
    assert with_quadrants(rows().remove_columns("answer"))["quadrant"][:] == [3] * 6


@pytest.mark.parametrize(
    ("dataset", "predictions", "told"),
    [
        (rows(), None, "the predictions are missing"),
        (rows().remove_columns("answer"), [1] * 6, "the column 'answer' are missing"),
        (rows(), [1] * 5, "5 predictions for 6 rows"),
        (rows(), [0.5] * 6, "prediction 0 is 0.5; give class indices"),
        (rows(("no", "NO")), [0, 0], "row 1: answer 'NO' is unknown"),
        (rows(labels=[[0, 1]] * 6), [0] * 6, "row 0 has labels .*takes exactly one"),
        (datasets.DatasetDict(train=rows()), [0] * 6, "DatasetDict cannot be marked"),
    ],
)
def test_what_is_refused(dataset, predictions, told):
    with pytest.raises(ValueError, match=told):
        with_quadrants(dataset, predictions)


def batch_of(**columns):
    given = [{"pixel_values": torch.zeros(3, 8, 8), "label": 0, "image_id": i} for i in range(2)]
    for name, values in columns.items():
        given = [row | ({name: value} if value != "none" else {}) for row, value in zip(given, values, strict=True)]
    return GuidanceCollator(None, num_labels=2)(given)


def test_the_collator_hands_it_on():
    batch = batch_of(quadrant=[2, np.int64(3)])
    assert batch["quadrant"].tolist() == [2, 3]
    assert batch["quadrant"].dtype == torch.int64
    assert "quadrant" not in batch_of()


@pytest.mark.parametrize("bad", [4, -1, 1.0, None, "none", "1"])
def test_bad_quadrants_are_named(bad):
    with pytest.raises(ValueError, match=r"row 1 of the batch \(image_id 1\) has the quadrant .*from 0 to 3"):
        batch_of(quadrant=[0, bad])
