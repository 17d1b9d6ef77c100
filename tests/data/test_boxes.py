import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_guidance.data.boxes import boxes_to_mask, dilate_boxes, resize_boxes
from hf_guidance.families.grid import tokens_to_grid
from hf_guidance.forward.maps import resize_maps


def mask_by_loops(boxes, height, width):
    mask = np.zeros((height, width))
    for xmin, ymin, xmax, ymax in boxes:
        for y in range(height):
            for x in range(width):
                if int(ymin) <= y < int(ymax) and int(xmin) <= x < int(xmax):
                    mask[y, x] = 1
    return mask


coordinate = st.one_of(st.integers(-5, 20), st.floats(-5, 20, allow_nan=False))


@given(
    st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=4),
    st.integers(1, 12),
    st.integers(1, 12),
)
@settings(max_examples=100, deadline=None)
def test_boxes_to_mask_equals_loops(boxes, height, width):
    mask = boxes_to_mask([[float(v) for v in box] for box in boxes], height, width)
    assert mask.dtype == torch.float32
    assert np.array_equal(mask.numpy(), mask_by_loops(boxes, height, width))


def test_upper_edges_are_exclusive_and_empty_boxes_cover_nothing():
    assert boxes_to_mask(torch.tensor([[1, 0, 3, 2]]), 3, 4).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert not boxes_to_mask(torch.tensor([[2, 0, 2, 3], [3, 2, 1, 1]]), 3, 4).any()
    assert boxes_to_mask(torch.zeros(0, 4), 3, 4).shape == (3, 4)
    assert not boxes_to_mask([], 3, 4).any()


@pytest.mark.parametrize(
    ("boxes", "size", "message"),
    [
        (torch.zeros(2, 3), (4, 4), r"shape \(2, 3\).*\(n, 4\)"),
        (torch.zeros(4), (4, 4), r"\(n, 4\)"),
        (torch.tensor([[0, 0, float("nan"), 1]]), (4, 4), "NaN or infinity"),
        (torch.tensor([[0, 0, float("inf"), 1]]), (4, 4), "NaN or infinity"),
        (torch.zeros(1, 4), (0, 4), "0x4 is not positive"),
        (torch.zeros(0, 5), (4, 4), r"shape \(0, 5\).*\(n, 4\)"),
        (np.zeros((3, 0)), (4, 4), r"shape \(3, 0\).*\(n, 4\)"),
        ([[]], (4, 4), r"shape \(1, 0\).*\(n, 4\)"),
        (np.zeros((1, 2, 4)), (4, 4), r"shape \(1, 2, 4\)"),
        ([[0, 0, 1, 1], [0, 0, 1]], (4, 4), r"no array of numbers .*\(n, 4\)"),
        ([[0, 0, 1, None]], (4, 4), "no array of numbers"),
        ([["0", "0", "1", "1"]], (4, 4), "no array of numbers"),
        (np.array([[0, 0, 1, 1]], object), (4, 4), "no array of numbers"),
        (np.ones((1, 4), bool), (4, 4), r"torch\.bool, not real numbers"),
    ],
)
@pytest.mark.parametrize("called", ["mask", "resize", "dilate"])
def test_wrong_boxes_are_named(boxes, size, message, called):
    calls = {
        "mask": lambda: boxes_to_mask(boxes, *size),
        "resize": lambda: resize_boxes(boxes, (4, 4), size),
        "dilate": lambda: dilate_boxes(boxes, 0.1, *size),
    }
    with pytest.raises(ValueError, match=message):
        calls[called]()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float16, ">f4", np.float64, np.longdouble])
def test_arrays_of_any_type_of_number_are_boxes(dtype):
    boxes = np.array([[1, 0, 3, 2]]).astype(dtype)
    boxes.setflags(write=False)
    assert boxes_to_mask(boxes, 3, 4).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("fraction", ["0.0", "0.1", "0.25", "0.5"])
def test_dilate_boxes_as_the_released_code(golden, agree, fraction):
    data = golden("model_guidance/boxes_and_annotations")
    grown = dilate_boxes(torch.from_numpy(data["boxes"]), float(fraction), 224, 224)
    agree("model_guidance/boxes_and_annotations", grown, data[f"dilated_{fraction}"], 0.0)


def test_dilate_boxes_takes_lists_and_no_boxes():
    assert dilate_boxes([[2, 2, 6, 10]], 0.25, 20, 20).tolist() == [[1, 0, 7, 12]]
    assert dilate_boxes([], 0.25, 20, 20).shape == (0, 4)


def test_dilate_boxes_refuses_a_negative_fraction():
    with pytest.raises(ValueError, match=r"fraction=-0\.1"):
        dilate_boxes(torch.zeros(1, 4), -0.1, 10, 10)


@pytest.mark.parametrize("dataset", ["voc", "coco"])
def test_resize_boxes_as_the_released_preparation(golden, agree, dataset):
    data = golden("model_guidance/boxes_and_annotations")
    if dataset == "voc":
        boxes = data["voc_boxes_xyxy"].astype(np.float64)
    else:
        boxes = data["coco_boxes_xywh"].copy()
        boxes[:, 2:] += boxes[:, :2]
    for box, (width, height), expected in zip(
        boxes, data["voc_image_wh"].tolist(), data[f"{dataset}_boxes_224"], strict=True
    ):
        ours = resize_boxes(torch.from_numpy(box)[None], (height, width), (224, 224))
        agree("model_guidance/boxes_and_annotations", ours[0], expected, 0.0)


def test_resize_boxes_accepts_no_box():
    assert resize_boxes([], (10, 20), (5, 5)).shape == (0, 4)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_bilinear_resizing_equals_half_pixel_loops(height, width, to_height, to_width):
    maps = torch.randn(2, height, width, dtype=torch.float64)
    resized = resize_maps(maps, (to_height, to_width))

    def taps(index, size, to):
        place = max((index + 0.5) * size / to - 0.5, 0.0)
        low = min(int(place), size - 1)
        return low, min(low + 1, size - 1), place - low

    expected = torch.empty(2, to_height, to_width, dtype=torch.float64)
    for y in range(to_height):
        top, bottom, v = taps(y, height, to_height)
        for x in range(to_width):
            left, right, h = taps(x, width, to_width)
            upper = maps[:, top, left] * (1 - h) + maps[:, top, right] * h
            lower = maps[:, bottom, left] * (1 - h) + maps[:, bottom, right] * h
            expected[:, y, x] = upper * (1 - v) + lower * v
    assert torch.allclose(resized, expected)


def test_area_resizing_averages_and_keeps_the_mean():
    maps = torch.rand(2, 6, 8, dtype=torch.float64)
    resized = resize_maps(maps, (3, 2), "area")
    assert torch.allclose(resized, maps.reshape(2, 3, 2, 2, 4).mean((2, 4)))
    assert resize_maps(maps, (6, 8)) is maps
    four = torch.rand(2, 3, 6, 8)
    assert torch.equal(resize_maps(four, (3, 4)), F.interpolate(four, size=(3, 4), mode="bilinear"))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 16), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_tokens_of_whole_patches_go_back_to_their_places(height, width, patch, prefix):
    grid = torch.arange(height * width * 2.0).reshape(1, 2, height, width)
    tokens = torch.cat([torch.full((1, prefix, 2), -1.0), grid.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(tokens_to_grid(tokens, prefix, (height * patch, width * patch)), grid)


@pytest.mark.parametrize(
    ("size", "grid"), [((64, 33), (2, 2)), ((96, 33), (3, 2)), ((65, 64), (3, 2)), ((32, 31), (1, 1))]
)
def test_tokens_of_padded_images_go_back_to_their_places(size, grid):
    """Swin pads images to whole patches: ceil(size / 32) tokens a side."""
    values = torch.arange(grid[0] * grid[1] * 1.0).reshape(1, 1, *grid)
    assert torch.equal(tokens_to_grid(values.flatten(2).transpose(1, 2), 0, size), values)


def test_tokens_that_fill_no_grid_are_refused():
    with pytest.raises(ValueError, match="6 tokens with 1 prefix tokens do not fill a grid for an image of 32x64"):
        tokens_to_grid(torch.zeros(1, 6, 2), 1, (32, 64))
    with pytest.raises(ValueError, match="one token per patch"):
        tokens_to_grid(torch.zeros(1, 1, 2), 1, (32, 32))
