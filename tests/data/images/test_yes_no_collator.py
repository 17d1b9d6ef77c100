"""Rows with answers to tensors: one explained row per image, boxes for evaluation only, bad rows named."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from answered import WORDS, numbers, saved, train_rows
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data import YesNoCollator, check_annotated, with_answers
from hf_guidance.data.images.transform_check import refuse_left_behind
from hf_guidance.forward import ExplainedRows

PROCESSOR = ViTImageProcessor(size={"height": 16, "width": 16})
MAP = np.ones((2, 3), np.float32)


@pytest.fixture
def collate():
    return YesNoCollator(PROCESSOR, num_labels=2)


@pytest.fixture
def answered(tmp_path):
    rows = train_rows()
    return with_answers(rows, saved(tmp_path, rows), WORDS)


def rows_of(answered, count=4):
    return [answered[place] for place in range(count)]


def test_columns_of_a_training_batch(answered, collate):
    batch = collate(rows_of(answered))
    assert batch["answer"] == [1, 0, -1, -1]
    assert batch["annotated"] == [True, True, False, False]
    assert (batch["row"], batch["slot"], batch["target"].tolist()) == ([0, 1, 2, 3], [0] * 4, [0, 1, 0, 1])
    assert batch["saved_map"].dtype == torch.float32
    assert np.array_equal(batch["saved_map"].numpy(), numbers()[:4])
    assert "importance" not in batch
    reference = GuidanceCollator(PROCESSOR, num_labels=2)(rows_of(answered))
    assert torch.equal(batch["pixel_values"], reference["pixel_values"])
    assert torch.equal(batch["labels"], reference["labels"])


def test_rows_and_images_are_chosen_with_their_map_and_answer(answered, collate):
    batch = collate(rows_of(answered))
    part = ExplainedRows().take_images(batch, [3, 1])
    assert part["answer"] == [0, -1]
    assert np.array_equal(part["saved_map"].numpy(), numbers()[[1, 3]])
    only = ExplainedRows().annotated_only(batch)
    assert only["answer"] == [1, 0]
    assert len(only["saved_map"]) == 2


def test_evaluation_measures_by_boxes(answered, collate):
    evaluating = collate.for_evaluation()
    batch = evaluating(rows_of(answered))
    reference = GuidanceCollator(PROCESSOR, num_labels=2)(rows_of(answered))
    assert torch.equal(batch["importance"], reference["importance"])
    assert batch["annotated"] == [True] * 4
    assert batch["answer"] == [1, 0, -1, -1]
    assert evaluating.sources == GuidanceCollator.sources
    assert evaluating.for_evaluation()(rows_of(answered))["annotated"] == [True] * 4
    without = [{name: row[name] for name in ("image", "labels")} for row in rows_of(answered)]
    batch = evaluating(without)
    assert batch["annotated"] == [False] * 4
    assert batch["answer"] == [-1] * 4
    assert batch["saved_map"].shape == (4, 1, 1)


def test_rows_without_an_answer_may_lack_a_map(answered, collate):
    rows = rows_of(answered)
    rows[2]["saved_map"] = None
    del rows[3]["saved_map"], rows[3]["answer"]
    batch = collate(rows)
    assert batch["saved_map"].shape == (4, 2, 3)
    assert not batch["saved_map"][2:].any()
    assert batch["answer"] == [1, 0, -1, -1]


def test_the_flag_annotated_counts(answered, collate):
    rows = [row | {"annotated": flag} for row, flag in zip(rows_of(answered, 3), [False, True, True], strict=True)]
    batch = collate(rows)
    assert batch["answer"] == [-1, 0, -1]
    assert batch["annotated"] == [False, True, False]


def test_rows_without_labels_can_be_predicted(collate):
    row = {"image": train_rows(1)[0]["image"]}
    assert list(collate([row])) == ["pixel_values"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "Yes"}, "has the answer 'Yes'; allowed: 'yes', 'no', 'maybe' and None"),
        ({"answer": 1}, "has the answer 1"),
        ({"answer": ["yes"]}, "has the answer"),
        ({"saved_map": None}, "is answered and has no map"),
        ({"saved_map": np.ones(3)}, r"of shape \(3,\)"),
        ({"saved_map": np.ones((0, 3))}, r"of shape \(0, 3\)"),
        ({"saved_map": np.full((2, 3), np.nan)}, "with NaN or infinity"),
        ({"saved_map": np.ones((4, 4))}, r"saved map of \(4, 4\), row 0 .* one of \(2, 3\)"),
    ],
)
def test_bad_rows_are_named(answered, collate, change, message):
    rows = rows_of(answered)
    rows[1] |= change
    with pytest.raises(ValueError, match=message) as found:
        collate(rows)
    assert "row 1 of the batch (image_id 'i1')" in str(found.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problem_type": "multi_label_classification"}, "explains one class"),
        ({"transform": lambda image, masks: (image, masks)}, "do not follow"),
        ({"control_seed": 1}, "control_seed=1"),
        ({"box_dilation": 0.1}, r"box_dilation=0\.1"),
    ],
)
def test_options_that_would_not_be_used_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        YesNoCollator(PROCESSOR, num_labels=2, **options)


def test_a_training_set_is_judged_by_its_answers(answered, collate):
    check_annotated(answered, collate.sources)
    with pytest.raises(ValueError, match="empty in every row"):
        check_annotated(answered.remove_columns("answer").add_column("answer", [None] * 10), collate.sources)
    with pytest.raises(ValueError, match="none of the columns"):
        check_annotated(train_rows(), collate.sources)


def test_transforms(answered, collate, caplog):
    def small(batch):
        return {**batch, "pixel_values": [np.zeros((3, 8, 8), np.float32) for _ in batch["image"]]}

    def noisy(batch):
        made = [np.random.rand(3, 8, 8).astype(np.float32) for _ in batch["image"]]  # noqa: NPY002
        return {**batch, "pixel_values": made}

    resized, random = answered.with_transform(small), answered.with_transform(noisy)
    refuse_left_behind(resized, collate.sources)  # an answer marks no place
    with caplog.at_level(logging.WARNING):
        collate.check_rows(answered, "train_dataset")
        collate.check_rows(resized, "train_dataset")
        assert not caplog.records
        collate.check_rows(random, "train_dataset")
    assert "the transform of train_dataset is random" in caplog.text
    assert collate(rows_of(resized, 2))["pixel_values"].shape == (2, 3, 8, 8)
