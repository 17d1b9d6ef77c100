"""Human importance of boxes from maps and reference boxes, against the official numbers and loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_guidance.data.boxes import box_importance_from_iou, box_importance_from_map

PIXEL, IOU = "visfis/human_importance_pixel", "visfis/human_importance_iou"


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("soft", [False, True])
def test_maps_against_the_official_scores(golden, agree, case, soft):
    data = golden(PIXEL)
    pixels, boxes = data[f"c{case}__importance_map"], data[f"c{case}__boxes_xyxy_normalised"]
    expected = data[f"c{case}__score_soft" if soft else f"c{case}__score"]
    ours = box_importance_from_map(torch.from_numpy(pixels), torch.from_numpy(boxes), soft=soft)
    assert np.isnan(expected).tolist() == [False] * 7 + [True]
    agree(f"{PIXEL} ({'soft' if soft else 'plain'})", ours[:-1], expected[:-1])
    assert ours[-1] == 0.5


@pytest.mark.parametrize("case", range(6))
def test_reference_boxes_against_the_official_scores(golden, agree, case):
    data = golden(IOU)
    boxes, references = (torch.from_numpy(data[f"c{case}__{name}"]) for name in ("detected_boxes", "gt_boxes"))
    agree(IOU, box_importance_from_iou(boxes, references), data[f"c{case}__score"], 1e-6)


def loops(pixels, box):
    height, width = len(pixels), len(pixels[0])
    x0, y0, x1, y1 = box
    inside = outside = 0.0
    for i in range(height):
        for j in range(width):
            within = int(y0 * height) <= i < int(y1 * height) and int(x0 * width) <= j < int(x1 * width)
            inside, outside = inside + within * pixels[i][j], outside + (not within) * pixels[i][j]
    area = (x1 - x0) * (y1 - y0)
    covers = int(x0 * width) == int(y0 * height) == 0 and int(x1 * width) == width and int(y1 * height) == height
    if covers or 1 - area < 1e-5:
        return 0.5 if inside + outside else 0.0
    if inside == 0:
        return 0.0
    if outside == 0:
        return 1.0
    return inside / area / (inside / area + outside / (1 - area))


unit = st.floats(0, 1)
size = st.integers(1, 6)


@given(size, size, st.integers(0, 99), unit, unit, unit, unit)
def test_maps_against_loops(height, width, seed, a, b, c, d):
    draws = np.random.default_rng(seed)
    pixels = draws.integers(0, 3, (height, width)).astype(float)
    box = [min(a, b), min(c, d), max(a, b), max(c, d)]
    ours = box_importance_from_map(pixels.tolist(), [box])
    assert torch.isfinite(ours).all()
    assert ours.item() == pytest.approx(loops(pixels, box), abs=1e-9)
    assert box_importance_from_map((7 * pixels).tolist(), [box]).item() == pytest.approx(ours.item(), abs=1e-9)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("array", [np.asarray, torch.from_numpy])
def test_boxes_on_the_pixel_grid_keep_their_pixels(kind, array):
    for size in (7, 30, 49, 100):
        edges = np.arange(2, size).astype(kind) / np.asarray(size, kind)
        last = (edges * np.asarray(size, kind)).astype(int) - 1
        for edge, row in zip(edges, last, strict=True):
            pixels = torch.zeros(size, 2)
            pixels[row] = 1  # the last row of the box
            boxes = array(np.asarray([[0, 0, 1, edge]], kind))
            assert box_importance_from_map(pixels, boxes).item() == 1, (size, edge)
    assert last[68] == 69  # 0.7 of 100 rows ends at row 70, in both dtypes


def test_half_precision_boxes_stay_in_the_map():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]], dtype=torch.bfloat16)
    assert box_importance_from_map(torch.ones(3, 643), boxes)[0] == 0.5


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((320, 480), [0, 0, 1, 0.999999]),
        ((320, 480), [1e-6, 0, 1, 1]),
        ((7, 9), [0, 0, 1, 1 - 1e-9]),
        ((7, 9), [1e-9, 1e-9, 1 - 1e-9, 1 - 1e-9]),
    ],
)
def test_a_box_that_leaves_out_a_rounding_error_is_whole(size, box):
    left_out = torch.zeros(size)
    left_out[-1] = 1
    for pixels in (torch.ones(size), left_out, torch.rand(size, generator=torch.Generator().manual_seed(0))):
        assert box_importance_from_map(pixels, [box]).tolist() == [0.5]
    assert box_importance_from_map(torch.zeros(size), [box]).tolist() == [0]


def test_empty_maps_and_boxes():
    boxes = [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
    assert box_importance_from_map(torch.zeros(4, 4), boxes).tolist() == [0, 0, 0]
    assert box_importance_from_map(torch.ones(4, 4), boxes).tolist() == [0.5, 0.5, 0]
    assert box_importance_from_map(torch.ones(4, 4), []).shape == (0,)
    assert box_importance_from_iou(boxes, []).tolist() == [0, 0, 0]
    assert box_importance_from_iou(boxes, boxes[2:]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("box", [[0, 0, 1.2, 1], [0.5, 0, 0.2, 1], [float("nan"), 0, 1, 1], [-0.1, 0, 1, 1]])
def test_wrong_boxes(box):
    with pytest.raises(ValueError, match=r"boxes\[1\] is .*allowed are 0 <= xmin"):
        box_importance_from_map(torch.ones(4, 4), [[0, 0, 1, 1], box])
    with pytest.raises(ValueError, match=r"reference_boxes\[0\] is"):
        box_importance_from_iou([[0, 0, 1, 1]], [box])


@pytest.mark.parametrize("pixels", [torch.full((2, 2), float("nan")), -torch.ones(2, 2)])
def test_wrong_maps(pixels):
    with pytest.raises(ValueError, match="NaN, infinity or negative"):
        box_importance_from_map(pixels, [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="one channel"):
        box_importance_from_map(torch.ones(2, 2, 3), [[0, 0, 1, 1]])


@pytest.mark.parametrize("pixels", [[["a"]], [["1"]], [[1], [1, 2]], [[None]], [[1j]], np.array([[1]], object), "map"])
def test_maps_that_are_no_numbers(pixels):
    with pytest.raises(ValueError, match=r"the map (holds|is no array of numbers).*one channel"):
        box_importance_from_map(pixels, [[0, 0, 1, 1]])


@pytest.mark.parametrize(
    "boxes", [np.zeros((0, 5)), np.zeros((2, 0)), [[]], [[0, 0, 1]], [[0, 0, 1, 1], [0]], [0, 0, 1, 1]]
)
def test_boxes_of_another_shape(boxes):
    for call in (
        lambda: box_importance_from_map(torch.ones(4, 4), boxes),
        lambda: box_importance_from_iou([[0, 0, 1, 1]], boxes),
    ):
        with pytest.raises(ValueError, match=r"boxes (have shape|are no array of numbers).*\(n, 4\) as xmin"):
            call()
