"""Attributions of boxes as maps of pixels."""

import pytest
import torch

from hf_guidance.forward.maps import boxes_onto_image

#  A covers the left half, B the lower right quarter of the image and a part of A's.
BOXES = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.25, 0.5, 1.0, 1.0]]])
VALUES = torch.tensor([[2.0, -1.0]])


def test_a_pixel_has_what_the_boxes_over_it_have():
    mean = [[2.0, 2.0, 0.0, 0.0], [2.0, 0.5, -1.0, -1.0]]
    added = [[2.0, 2.0, 0.0, 0.0], [2.0, 1.0, -1.0, -1.0]]
    assert boxes_onto_image(VALUES, BOXES, (2, 4)).tolist() == [mean]
    assert boxes_onto_image(VALUES, BOXES, (2, 4), "sum").tolist() == [added]


def test_a_pixel_that_is_covered_in_part_has_that_share():
    boxes = torch.tensor([[[0.0, 0.0, 0.125, 0.5]]])  # half of a pixel's width, of one line
    assert boxes_onto_image(torch.tensor([[3.0]]), boxes, (2, 4)).tolist() == [[[1.5, 0, 0, 0], [0, 0, 0, 0]]]


@pytest.mark.parametrize("overlap", ["mean", "sum"])
@pytest.mark.parametrize("size", [(5, 7), (14, 14), (230, 301)])
def test_equals_a_loop_over_pixels_and_boxes(size, overlap):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 4, 2, 2, generator=generator).sort(2).values
    boxes, values = corners.flatten(2), torch.randn(2, 4, generator=generator)
    fine = [side * -(-224 // side) for side in size]
    maps = torch.zeros(2, *fine, dtype=torch.float64)
    y, x = ((torch.arange(count) + 0.5) / count for count in fine)
    for row in range(2):
        covered = [((y >= b[1]) & (y < b[3]))[:, None] & ((x >= b[0]) & (x < b[2])) for b in boxes[row]]
        total = sum(value.double() * inside for value, inside in zip(values[row], covered, strict=True))
        maps[row] = total / torch.stack(covered).sum(0).clamp_min(1) if overlap == "mean" else total
    expected = maps.unflatten(1, (size[0], -1)).unflatten(3, (size[1], -1)).mean((2, 4))
    assert torch.allclose(boxes_onto_image(values, boxes, size, overlap).double(), expected, atol=1e-6)


def test_equal_pixels_are_equal():
    """So that they share a rank: the inside of a box whose value has no short binary form, at sides that cut it anywhere."""
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    maps = boxes_onto_image(torch.tensor([[0.1]], dtype=torch.float64), boxes, (13, 17))
    assert maps.unique().tolist() == [torch.tensor(0.1).item()]


def test_boxes_that_are_the_cells_of_a_grid_are_its_map():
    """So a model over boxes, as SAN, is explained at a grid: its features are boxes without gaps."""
    y, x = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    boxes = torch.stack([x / 14, y / 14, (x + 1) / 14, (y + 1) / 14], -1).flatten(0, 1)[None]
    values = torch.randn(1, 196, generator=torch.Generator().manual_seed(0))
    for overlap in ("mean", "sum"):
        assert torch.equal(boxes_onto_image(values, boxes, (14, 14), overlap), values.reshape(1, 14, 14))


def test_padding_covers_nothing():
    wide = torch.cat([BOXES, torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])], 1)
    values = torch.cat([VALUES, torch.tensor([[9.0]])], 1)
    real = torch.tensor([[True, True, False]])
    expected = boxes_onto_image(VALUES, BOXES, (2, 4))
    assert torch.equal(boxes_onto_image(values, wide, (2, 4), real=real), expected)
    wide[0, 2] = torch.nan  # what lies at padding is not read
    assert torch.equal(boxes_onto_image(values, wide, (2, 4), real=real), expected)
    none = boxes_onto_image(values, wide, (2, 4), real=torch.zeros(1, 3, dtype=torch.bool))
    assert not none.any()


@pytest.mark.parametrize(
    ("box", "shown"),
    [
        ([0, 0, 640, 480], "640.0"),
        ([0.5, 0, 0.2, 1], "0.2"),
        ([-0.1, 0, 1, 1], "-0.1"),
        ([0, float("nan"), 1, 1], "nan"),
    ],
)
def test_boxes_outside_of_the_image_are_refused(box, shown):
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 1.0], box]])
    with pytest.raises(ValueError, match=rf"boxes\[1\] is \[.*{shown}.*0 <= xmin <= xmax <= 1.*Divide pixel boxes"):
        boxes_onto_image(VALUES, boxes, (2, 4))


def test_other_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"overlap='max' is unknown; choose one of \['mean', 'sum'\]"):
        boxes_onto_image(VALUES, BOXES, (2, 4), "max")
    with pytest.raises(
        ValueError, match=r"attributions of shape \(1, 3\) and boxes of shape \(1, 2, 4\); give one number"
    ):
        boxes_onto_image(torch.zeros(1, 3), BOXES, (2, 4))
