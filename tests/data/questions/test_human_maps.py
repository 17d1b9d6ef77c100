"""QuestionCollator's column of human maps: sizes, values, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_question_collator import collator, row

from hf_guidance.data import QuestionTripleCollator
from hf_guidance.data.columns import EXPLAINED_ROW_COLUMNS
from hf_guidance.data.questions.maps import human_maps

LARGE = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 5)))  # 8 x 15


def test_maps_of_any_size_come_at_one():
    rows = [
        row(0, mask=Image.fromarray((LARGE * 20).astype(np.uint8))),
        row(1, mask=np.arange(6).reshape(2, 3)),
        row(2, mask=torch.from_numpy(LARGE[::-1].copy())),
        row(3, importance="absent", mask=None),
    ]
    batch = collator(map_size=[2, 3])(rows)
    assert batch["human_map"].dtype == torch.float32
    expected = torch.arange(6).reshape(2, 3) / 5
    assert torch.allclose(batch["human_map"][:2], expected)
    assert torch.allclose(batch["human_map"][2], expected.flip(0))
    assert not batch["human_map"][3].any()
    assert batch["annotated"] == [True, True, True, False]
    assert "human_map" not in collator()(rows)
    assert "human_map" in EXPLAINED_ROW_COLUMNS


def test_equal_pixels_stay_equal():
    """Means over areas of different sizes, as 40 x 30 pixels have in 14 x 14."""
    pixels = np.full((30, 40), 77, np.uint8)
    assert collator(map_size=(14, 14))([row(mask=pixels)])["human_map"].unique().tolist() == [1.0]
    pixels[:, :20] = 0
    assert len(collator(map_size=(14, 14))([row(mask=pixels)])["human_map"].unique()) <= 3


def test_the_scale_and_the_type_do_not_matter():
    maps = [LARGE * 7, (LARGE / 5).astype(np.float32), LARGE > 2]
    found = human_maps([{"mask": each} for each in maps], ["a", "b", "c"], [True] * 3, (4, 5))
    assert torch.allclose(found[0], found[1])
    assert found.amax((1, 2)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            None,
            r"row 1 .*question_id '1'.* is annotated and has no 'mask', .* of which map_size=\(2, 3\) makes 'human_map'",
        ),
        ([[0.0, np.nan]], "row 1 .*mask: .*holds NaN, infinity or negative values; replace them by 0"),
        ([[0.0, -1.0]], "row 1 .*mask: .*negative values"),
        ([[], []], "row 1 .*mask: it is empty"),
        (np.zeros((2, 3, 3)), r"row 1 .*mask: it has shape \(2, 3, 3\); give one channel"),
        ("a.png", r"row 1 .*mask: it has shape \(\)"),
    ],
)
def test_bad_maps_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        collator(map_size=(2, 3), source="importance")([row(0, mask=LARGE), row(1, mask=mask)])


def test_rows_without_the_column():
    with pytest.raises(
        ValueError, match=r"has no 'mask'.*leave map_size out, or give rows without a map annotated=False"
    ):
        collator(map_size=(2, 3))([row()])
    assert not collator(map_size=(2, 3))([row(annotated=False)])["human_map"].any()


@pytest.mark.parametrize("size", [14, (14,), (14, 0), (14.5, 14), "14"])
def test_bad_sizes_are_refused(size):
    with pytest.raises(ValueError, match=r"QuestionCollator\(map_size=.*\(14, 14\)"):
        collator(map_size=size)


def test_maps_outside_of_every_box_are_counted():
    """They make no importance of boxes, so that the row is not annotated."""
    pixels = np.zeros((8, 8))
    pixels[7, 0] = 1
    rows = [row(0, importance="absent", mask=pixels), row(1, importance="absent", mask=pixels, annotated=False)]
    collate = collator(map_size=(8, 8))
    batch = collate([*rows, row(2, importance="absent", mask=pixels * 0), row(3, importance="absent", mask=pixels.T)])
    assert batch["annotated"] == [False, False, False, True]
    assert batch["human_map"].flatten(1).any(1).tolist() == [True, True, False, True]
    assert collate.counts["human maps that no box lies on, which are not measured"] == 1


def test_triples_have_no_maps():
    with pytest.raises(ValueError, match=r"QuestionTripleCollator\(map_size=\(2, 3\)\): importance"):
        QuestionTripleCollator(collator().tokenizer, map_size=(2, 3))


def test_a_control_has_no_true_maps():
    with pytest.raises(ValueError, match=r"map_size=\(2, 3\) with control_seed=3"):
        collator(map_size=(2, 3), control_seed=3)
