"""Attention maps of every type keep their values; what has no single channel of values is refused."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from test_question_collator import BOXES, collator, row

from hf_guidance.data.boxes import box_importance_from_map
from hf_guidance.data.questions.maps import map_values

RAMP = np.add.outer(np.arange(6), np.arange(8)).astype(np.float64)  # 0 to 12
EXPECTED = box_importance_from_map(torch.from_numpy(RAMP), torch.tensor(BOXES)).float()
jet = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1).astype(np.uint8) * 20

PICTURES = {
    "8 bit": Image.fromarray((RAMP * 20).astype(np.uint8)),
    "grey RGB": Image.fromarray((RAMP * 20).astype(np.uint8)).convert("RGB"),
    "grey palette": Image.fromarray((RAMP * 20).astype(np.uint8)).convert("P"),
    "16 bit": Image.fromarray((RAMP * 5000).astype(np.uint16)),
    "16 bit, small values": Image.fromarray((RAMP * 300).astype(np.uint16)),
    "32 bit": Image.fromarray((RAMP * 100000).astype(np.int32)),
    "float in [0, 1]": Image.fromarray((RAMP / 12).astype(np.float32)),
    "large float": Image.fromarray((RAMP * 1e6).astype(np.float32)),
    "array float16": (RAMP / 16).astype(np.float16),
    "array float64": RAMP,
    "array uint32": (RAMP * 1000).astype(np.uint32),
    "tensor": torch.from_numpy(RAMP),
    "list": RAMP.tolist(),
}


@pytest.mark.parametrize("case", PICTURES)
def test_importance_does_not_depend_on_the_type_of_a_map(case):
    batch = collator(source="mask")([row(mask=PICTURES[case], image=Image.new("RGB", (80, 60)))])
    assert torch.allclose(batch["importance"][0], EXPECTED, atol=2e-3)
    assert batch["annotated"] == [True]


def saved(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray((RAMP * 20).astype(np.uint8)).save(buffer, kind, **options)
    return Image.open(buffer)


def test_files_of_several_frames_are_refused():
    with pytest.raises(ValueError, match="mask: the file holds 2 frames"):
        collator(source="mask")([row(mask=saved("TIFF", save_all=True, append_images=[Image.new("L", (8, 6))]))])


def test_exif_turns_a_map():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    assert np.array_equal(map_values(saved("PNG", exif=exif)), np.rot90(RAMP * 20, -1))


def test_truth_values_are_a_mask():
    inside = RAMP > 6
    expected = box_importance_from_map(torch.from_numpy(inside), torch.tensor(BOXES)).float()
    for mask in (inside, Image.fromarray(inside)):
        assert torch.equal(collator(source="mask")([row(mask=mask)])["importance"][0], expected)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (jet, r"it has shape \(6, 8, 3\); give one channel"),
        (Image.fromarray(jet), r"it has colours \(mode 'RGB'\), where one channel is meant"),
        (Image.fromarray(jet).convert("RGBA"), r"it has colours \(mode 'RGBA'\)"),
        (Image.fromarray(jet).convert("P"), "it has a palette of colours"),
        (Image.new("L", (0, 0)), "it is 0x0 and has no pixel"),
        (RAMP.astype(complex), "it holds complex128, not numbers"),
        (RAMP.astype(str), "it holds <U32, not numbers"),
        (-RAMP, "negative"),
        (np.where(RAMP > 3, np.nan, RAMP), "NaN"),
        ({"bytes": b"", "path": None}, r"it has shape \(\)"),
    ],
)
def test_what_is_no_map_is_refused(mask, message):
    with pytest.raises(ValueError, match=rf"question_id '0'\), mask: .*{message}"):
        collator(source="mask")([row(mask=mask)])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"importance": ["high", "low", "no"]}, "importance cannot be read as numbers|importance are <U4"),
        ({"importance": [0.5, None, 0.5]}, "importance holds nan"),
        ({"importance": [0.5, -0.1, 0.5]}, "importance holds -0.1"),
        ({"importance": [[0.5], [0.2, 0.1], [0.3]]}, "importance cannot be read as numbers"),
        ({"importance": np.array([1j, 0, 0])}, "importance are complex128"),
        ({"importance": None, "reference_boxes": [[], [], []]}, r"reference_boxes have shape \(3, 0\)"),
        ({"importance": None, "reference_boxes": [0, 0, 0.5, 0.5]}, r"reference_boxes have shape \(4,\)"),
        ({"importance": None, "reference_boxes": [[0, 0, 0.5, 0.5], [0, 0, 0.5]]}, "cannot be read as numbers"),
        ({"importance": None, "reference_boxes": [[0, 0, float("nan"), 1]]}, r"reference_boxes\[0\] is"),
        ({"importance": None, "reference_boxes": [[0.5, 0, 0.2, 1]]}, r"reference_boxes\[0\] is"),
        ({"importance": None, "reference_boxes": [[0, 0, 1.001, 1]]}, r"reference_boxes\[0\] is .*Divide pixel boxes"),
        ({"importance": None, "reference_boxes": [[0, 0, 114, 65]]}, r"reference_boxes\[0\] is .*Divide pixel boxes"),
    ],
)
def test_importance_and_reference_boxes_that_cannot_be_read(columns, message):
    with pytest.raises(ValueError, match=message) as caught:
        collator()([row(7), row(**columns)])
    assert "row 1 of the batch (question_id '0')" in str(caught.value)


def test_reference_boxes_may_be_rounded():
    exact = collator()([row(importance=None, reference_boxes=[[0, 0.25, 1, 1]])])["importance"]
    rounded = collator()([row(importance=None, reference_boxes=[[-1e-6, 0.25, 1.00001, 1]])])["importance"]
    assert torch.allclose(exact, rounded, atol=1e-5)


def picture_bytes():
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # 60 x 80, turned to 80 x 60
    Image.new("RGB", (60, 80)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image", "unchecked"),
    [
        (np.zeros((60, 80), np.uint8), 0),
        (np.zeros((60, 80, 3), np.uint8), 0),
        (np.zeros((3, 60, 80), np.uint8), 0),
        (torch.zeros(3, 60, 80), 0),
        (torch.zeros(1, 60, 80), 0),
        (np.zeros((3, 60, 80), np.uint8).tolist(), 0),
        ({"bytes": picture_bytes(), "path": None}, 0),
        ({"bytes": None, "path": "nowhere.jpg"}, 1),
        ({"bytes": None, "path": None}, 1),
        (np.zeros((5, 60, 80)), 1),
        (np.zeros((3, 4, 3)), 1),  # either axis could be the channels
    ],
)
def test_the_size_of_an_image_in_any_layout(image, unchecked):
    collate = collator(source="mask")
    collate([row(mask=PICTURES["8 bit"], image=image)])
    assert collate.counts["map not checked against an image"] == unchecked
    if not unchecked:
        with pytest.raises(ValueError, match="the map is 6x6, the image 80x60"):
            collate([row(mask=np.ones((6, 6)), image=image)])


def test_map_values_are_not_scaled():
    assert map_values(PICTURES["16 bit"]).max() == 60000
