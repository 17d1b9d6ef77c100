"""Training sets that cannot guide are refused before training, without decoding an image."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_guidance.data.annotated import annotated_flags, check_annotated

SOURCES = ("importance", "mask", "objects", "reference_boxes")

OBJECT = {"bbox": [0.0, 0.0, 2.0, 2.0], "category": 0}
OBJECTS = datasets.List(
    {"bbox": datasets.List(datasets.Value("float32"), length=4), "category": datasets.Value("int64")}
)
FEATURES = {
    "objects": OBJECTS, "mask": datasets.Image(), "importance": datasets.Array2D((4, 4), "float32"),
    "annotated": datasets.Value("bool"),
}  # fmt: skip
MASK = Image.fromarray(np.ones((4, 4), np.uint8))


def dataset(**columns):
    features = datasets.Features({"label": datasets.Value("int64")} | {name: FEATURES[name] for name in columns})
    return datasets.Dataset.from_dict({"label": [0, 0], **columns}, features=features)


@pytest.mark.parametrize(
    "columns",
    [
        {"objects": [[], [OBJECT]]},
        {"mask": [None, MASK]},
        {"importance": [None, np.zeros((4, 4))]},
        {"objects": [[], []], "mask": [None, MASK]},
        {"objects": [[], [OBJECT]], "mask": [None, None]},
        {"objects": [[OBJECT], []], "annotated": [None, None]},
        {"objects": [[OBJECT], []], "annotated": [None, False]},
    ],
)
def test_one_filled_row_in_any_column_is_enough(columns):
    check_annotated(dataset(**columns), SOURCES)


@pytest.mark.parametrize(
    "columns",
    [
        {"objects": [[], []]},
        {"objects": [None, []]},
        {"mask": [None, None]},
        {"importance": [None, None]},
        {"objects": [[], []], "importance": [None, None]},
        {"objects": [[], []], "mask": [None, None], "importance": [None, None]},
    ],
)
def test_columns_empty_in_every_row_are_refused(columns):
    with pytest.raises(ValueError, match="empty in every row"):
        check_annotated(dataset(**columns), SOURCES)


def test_no_column_and_no_used_row_are_refused():
    with pytest.raises(ValueError, match="none of the columns"):
        check_annotated(dataset(), SOURCES)
    with pytest.raises(ValueError, match="False in every row"):
        check_annotated(dataset(objects=[[OBJECT], []], annotated=[False, False]), SOURCES)


def test_a_dict_of_lists_is_read_under_any_name():
    numbers = datasets.List(datasets.Value("float32"))
    feature = {"boxes": datasets.List(numbers), "categories": numbers}
    for boxes, filled in (([[0, 0, 2, 2]], True), ([], False)):
        rows = datasets.Dataset.from_dict(
            {"objects": [{"boxes": boxes, "categories": []}]}, features=datasets.Features({"objects": feature})
        )
        if filled:
            check_annotated(rows, SOURCES)
        else:
            with pytest.raises(ValueError, match="empty in every row"):
                check_annotated(rows, SOURCES)


def test_rows_that_a_transform_makes_are_not_judged():
    check_annotated(
        dataset().with_transform(lambda rows: {**rows, "objects": [[OBJECT]] * len(rows["label"])}), SOURCES
    )
    check_annotated(dataset(objects=[[], []]).with_transform(lambda rows: rows), SOURCES)
    for name in ("torch", "numpy"):
        with pytest.raises(ValueError, match="empty in every row"):
            check_annotated(dataset(objects=[[], []]).with_format(name), SOURCES)


def test_streams_and_ready_pixels_are_not_judged():
    check_annotated(dataset().to_iterable_dataset(), SOURCES)
    check_annotated(dataset().add_column("pixel_values", [[0.0], [0.0]]), SOURCES)


def test_flags_and_boxes_must_meet_in_a_row():
    with pytest.raises(ValueError, match=r"'annotated' .* False in every row that has something in \['objects'\]"):
        check_annotated(dataset(objects=[[], [OBJECT]], annotated=[True, False]), SOURCES)
    with pytest.raises(ValueError, match="False in every row that has something"):
        check_annotated(dataset(objects=[[], [OBJECT]], mask=[None, None], annotated=[None, False]), SOURCES)
    check_annotated(dataset(objects=[[], [OBJECT]], mask=[MASK, None], annotated=[True, False]), SOURCES)


@pytest.mark.parametrize("make", [list, datasets.Dataset.from_list])
def test_a_list_without_entries_annotates_nothing(make):
    mask = {"category": "dog", "size": [2, 2], "counts": "04"}
    rows = make([{"segmentations": given} for given in ([], [mask], None, [])])
    assert annotated_flags(rows, ("segmentations",)) == [False, True, False, False]
