"""map_over: the pixels of an image with the values of boxes, or a map, over them."""

import numpy as np
import pytest

from hf_guidance.evaluation.figures import Panel, map_over, panel_figure

WHITE = np.ones((20, 40, 3))
HALVES = [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]


def redness(picture):
    """How far each pixel is from grey, towards yellow and red."""
    return picture[..., 0].astype(int) - picture[..., 2]


def test_the_pixels_of_a_box_have_its_colour_and_others_stay_grey():
    red = redness(map_over(WHITE, [1.0, 0.0], HALVES))
    assert (red[:, :20] > 50).all()
    assert not red[:, 20:].any()


@pytest.mark.parametrize(("overlap", "stronger"), [("sum", True), ("mean", False)])
def test_what_a_pixel_in_several_boxes_gets(overlap, stronger):
    boxes = [[0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.0, 1.0]]
    picture = map_over(WHITE, [1.0, 1.0], boxes, overlap=overlap)
    assert (picture[5, 5] != picture[5, 30]).any() == stronger


def test_negative_values_are_blue_or_nothing():
    values = [1.0, -1.0]
    assert not redness(map_over(WHITE, values, HALVES))[:, 20:].any()
    signed = redness(map_over(WHITE, values, HALVES, signed=True))
    assert (signed[:, :20] > 50).all()
    assert (signed[:, 20:] < -50).all()


def test_the_colours_are_those_of_a_figure():
    draw = np.random.default_rng(0)
    values, grey = draw.random((20, 40)), np.full((20, 40, 3), 0.5)
    image, over = panel_figure([[Panel(grey, map=values)]]).axes[0].images
    colours = np.asarray(over.get_array(), float)
    strength = colours[..., 3:]
    expected = (1 - strength) * np.asarray(image.get_array(), float) + strength * colours[..., :3]
    assert np.abs(map_over(grey, values) / 255 - expected).max() <= 0.5 / 255 + 1e-6


def test_a_map_of_places_is_resized_and_bytes_are_an_image():
    from_bytes = map_over(np.full((20, 40, 3), 255, np.uint8), [[1.0, 0.0]])
    assert from_bytes.shape == (20, 40, 3)
    assert np.array_equal(from_bytes, map_over(WHITE, [[1.0, 0.0]]))
    left, middle, right = from_bytes[0, [0, 20, 39], 1]  # the stronger, the less green
    assert left < middle < right == 255


@pytest.mark.parametrize("values", [[0.0, 0.0], [-1.0, -2.0], [np.nan, np.nan]])
def test_nothing_is_drawn_as_nothing(values):
    assert not redness(map_over(WHITE, values, HALVES)).any()
    assert not redness(map_over(WHITE, [], np.zeros((0, 4)))).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((WHITE[..., 0], [1.0, 0.0], HALVES), r"the image has shape \(20, 40\); give \(height, width, 3\)"),
        ((WHITE, [1.0, 0.0]), r"the map has shape \(2,\); give \(height, width\), or one number a box"),
        ((WHITE, [1.0], HALVES), r"attributions of shape \(1, 1\) and boxes of shape \(1, 2, 4\)"),
        ((WHITE, [1.0, 0.0], [[0, 0, 40, 20], [0, 0, 1, 1]]), "Divide pixel boxes by the image's width and height"),
    ],
)
def test_other_shapes_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        map_over(*given)


def test_an_unknown_overlap_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        map_over(WHITE, [1.0, 0.0], HALVES, overlap="max")
