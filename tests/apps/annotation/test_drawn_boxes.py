"""Boxes of the box tool, as the browser sends them."""

import pytest
from PIL import Image

from hf_guidance.apps.annotation.box_tool import SIDE, drawn_boxes, tool_value
from hf_guidance.apps.annotation.items.patch_item import PatchItem

ITEM = PatchItem("a", Image.new("RGB", (200, 100)), "?", "", (0, 0, 1, 1))
SCALE = SIDE / 200


def sent(*sides, **more):
    return {"boxes": [dict(zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)) | more]}


def test_boxes_are_in_pixels_of_the_image_there_and_back():
    shown = tool_value(ITEM, [[10, 20, 30, 40]])
    assert shown["image"].size == (SIDE, SIDE // 2)
    assert drawn_boxes(shown, ITEM) == [pytest.approx([10, 20, 30, 40])]
    half = sent(*(side * SCALE / 2 for side in (10, 20, 30, 40)), scaleFactor=0.5)
    assert drawn_boxes(half, ITEM) == [pytest.approx([10, 20, 30, 40])]


def test_boxes_end_at_the_image():
    assert drawn_boxes(sent(-5, 0, 10_000, 10_000), ITEM) == [[0, 0, 200, 100]]
    assert drawn_boxes(sent(9000, 0, 10_000, 10), ITEM) == []
    assert drawn_boxes(None, ITEM) == drawn_boxes({"boxes": None}, ITEM) == []


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (sent(1, 2, float("nan"), 4), "not finite"),
        ({"boxes": [{"xmin": 1}]}, "has the numbers"),
        ({"boxes": [1]}, "has the numbers"),
        (sent("a", 2, 3, 4), "has the numbers"),
        ({"boxes": "abc"}, "give a list"),
        ({"boxes": [{}] * 101}, "at most 100"),
        ({"boxes": [], "orientation": 1}, "turned"),
    ],
)
def test_boxes_that_are_none(drawn, message):
    with pytest.raises(ValueError, match=message):
        drawn_boxes(drawn, ITEM)
