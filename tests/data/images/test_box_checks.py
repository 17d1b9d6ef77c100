"""Boxes against their image: cut, or refused with what they seem to be: shares, widths, or pixels of a turned photo."""

import json

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.box_checks import CLIPPED, ROUNDED, check_boxes, clipped_box

SAME = ViTImageProcessor(size={"height": 30, "width": 40}, do_normalize=False)
coordinate = st.floats(-60, 60)


@given(st.tuples(coordinate, coordinate, coordinate, coordinate))
def test_a_box_is_cut_exactly_where_it_overlaps_the_image(box):
    x0, y0, x1, y1 = box
    inside = [max(x0, 0.0), max(y0, 0.0), min(x1, 40.0), min(y1, 30.0)]
    if x0 < x1 and y0 < y1 and inside[0] < inside[2] and inside[1] < inside[3]:
        clipped, note = clipped_box(box, (40, 30), "a")
        assert clipped == inside
        assert bool(note) == (inside != list(box))
    else:
        with pytest.raises(InvalidAnnotation):
            clipped_box(box, (40, 30), "a")


@pytest.mark.parametrize(
    ("box", "clipped", "note"),
    [
        ((1, 2, 40, 30), [1, 2, 40, 30], ""),
        ((-0.5, 2, 40.9, 30), [0, 2, 40, 30], ROUNDED),
        ((-1, 2, 40, 30), [0, 2, 40, 30], CLIPPED),
        ((-90, -90, 90, 90), [0, 0, 40, 30], CLIPPED),
        ((38, 2, 72, 30), [38, 2, 40, 30], CLIPPED),
    ],
)
def test_what_was_cut_is_said(box, clipped, note):
    assert clipped_box(box, (40, 30), "a") == (clipped, note)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((40, 0, 50, 5), "box outside the image"),
        ((-9, 0, 0, 5), "box outside the image"),
        ((0, 31, 5, 40), "box outside the image"),
        ((9, 0, 3, 5), "box reversed"),
        ((-5, 9, 80, 3), "box reversed"),
        ((-5, 3, 80, 3), "box of zero width or height"),
        ((0, 0, float("inf"), 3), "box not finite"),
    ],
)
def test_boxes_without_overlap_reversed_or_empty_are_refused(box, reason):
    with pytest.raises(InvalidAnnotation, match="a: ") as error:
        clipped_box(box, (40, 30), "a")
    assert error.value.reason == reason


@pytest.mark.parametrize(
    "boxes",
    [
        [[0.1, 0.2, 0.5, 0.9]], [[0, 0, 1, 1]], [[0, 0, 1, 1], [0.5, 0.5, 1.001, 0.7]], [[0.1, 0.1, 0.5, 1.02]],
        [[-0.03, 0.1, 0.5, 1.1], [0.2, 0.2, 0.4, 0.4]],
    ],
)  # fmt: skip
def test_shares_of_the_image_are_no_pixels(boxes):
    with pytest.raises(
        InvalidAnnotation, match=r"boxes lie in \[0, 1\].*multiply x by the image's width, 40, and y .*30"
    ):
        check_boxes(boxes, (40, 30), "a")
    check_boxes([*boxes, [2, 2, 9, 9]], (40, 30), "a")  # beside boxes in pixels it is a tiny one
    check_boxes([[0, 0, 1, 1]], (1, 1), "a")
    check_boxes([[0.5, 0.2, 1.5, 1.8]], (8, 6), "a")  # in a small image two pixels are much
    check_boxes([[-9, -9, 1.5, 1.8]], (40, 30), "a")
    check_boxes([[0, 0, 1.8, 1.5]], (480, 320), "a")  # a small object in the corner


def row(*boxes, **more):
    objects = [{"bbox": list(box), "category": 0} for box in boxes]
    return {"image": Image.new("RGB", (40, 30)), "image_id": "a", "labels": [0], "objects": objects} | more


def importance(*boxes, **options):
    return GuidanceCollator(SAME, num_labels=1, **options)([row(*boxes)])["importance"][0]


def test_formats_of_boxes():
    corners = importance((4, 5, 14, 17), (20, 3, 22, 9))
    sizes = importance((4, 5, 10, 12), (20, 3, 2, 6), bbox_format="xywh")
    assert torch.equal(corners, sizes)
    assert corners.sum() == 10 * 12 + 2 * 6
    assert GuidanceCollator(SAME, num_labels=1, bbox_format="xywh").for_evaluation().bbox_format == "xywh"
    with pytest.raises(ValueError, match=r"bbox_format='cxcywh'.*xyxy.*xywh"):
        GuidanceCollator(SAME, num_labels=1, bbox_format="cxcywh")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((30, 20, 8, 9), "reversed"),
        ((8, 9, 8, 12), "zero width"),
        ((0, 0, 44, 9), "outside"),
        ((-4, 0, 9, 9), "outside"),
    ],
)
def test_boxes_that_leave_or_reverse_name_the_other_format(box, reason):
    with pytest.raises(ValueError, match=rf"image_id 'a'\), object 0: box .*{reason}.*pass bbox_format='xywh'"):
        importance(box)


def test_corners_read_as_sizes_name_the_other_format():
    with pytest.raises(ValueError, match=r"outside the image.*if its numbers are corners, pass bbox_format='xyxy'"):
        importance((20, 20, 30, 28), bbox_format="xywh")


@pytest.mark.parametrize("bbox_format", ["xyxy", "xywh"])
def test_shares_in_rows_are_refused_with_the_fix(bbox_format):
    with pytest.raises(
        ValueError, match=r"image_id 'a'\): its boxes lie in \[0, 1\].*multiply x by the image's width, 40"
    ):
        importance((0.1, 0.2, 0.6, 0.7), bbox_format=bbox_format)


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor])
def test_a_box_of_the_first_pixel_is_given_in_integers(kind):
    assert importance([kind(v) for v in (0, 0, 1, 1)]).nonzero().tolist() == [[0, 0]]
    with pytest.raises(ValueError, match=r"lie in \[0, 1\].*Give boxes of the first pixel as integers"):
        importance((0.0, 0.0, 1.0, 1.0))
    with pytest.raises(
        ValueError, match=r"lie in \[0, 1\]"
    ):  # the whole image, as JSON may write it, beside other shares
        importance((0, 0, 1, 1), (0.2, 0.2, 0.5, 0.6))


def test_boxes_that_rounding_puts_outside_are_cut():
    assert torch.equal(importance((30.07, 3, 9.94, 4), bbox_format="xywh"), importance((30, 3, 40, 7)))


def test_boxes_of_the_raw_pixels_of_a_turned_photo_are_named():
    image = Image.new("RGB", (40, 30))
    image.getexif()[0x0112] = 6  # as a photo that the user opened and did not turn
    with pytest.raises(
        ValueError, match=r"leaves the image, 30x40, but fits its raw pixels, 40x30: EXIF turns the photo"
    ):
        GuidanceCollator(SAME, num_labels=1)([row((25, 3, 39, 9), image=image)])
    decoded = row((3, 25, 9, 39), image=image)
    assert GuidanceCollator(SAME, num_labels=1)([decoded])["annotated"] == [True]


@pytest.mark.parametrize("key", ["category", "categories"])
@pytest.mark.parametrize("layout", ["lists", "dicts"])
def test_an_imagefolder_with_boxes_of_coco(layout, key, tmp_path):
    """metadata.jsonl as the docs of `datasets` have it for object detection."""
    boxes, categories = [[4.0, 5.0, 10.0, 12.0], [30.0, 20.0, 9.5, 9.0]], [1, 0]
    objects = {"bbox": boxes, key: categories}
    if layout == "dicts":
        objects = [{"bbox": box, key: category} for box, category in zip(boxes, categories, strict=True)]
    lines = []
    for index in range(2):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / f"{index}.png")
        lines.append({"file_name": f"{index}.png", "objects": objects})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = datasets.load_dataset("imagefolder", data_dir=str(tmp_path), split="train", cache_dir=str(tmp_path / "c"))
    collator = GuidanceCollator(SAME, "multi_label_classification", 2, bbox_format="xywh")
    with pytest.raises(
        ValueError, match=r"row 0 .*has 'objects' but no 'labels'.*dataset\.map\((lambda.*)\)\. To pre"
    ) as error:
        collator(list(dataset))
    fix = str(error.value).partition("dataset.map(")[2].partition("). To predict")[0]
    labelled = dataset.map(eval(fix))  # the fix that the error names works as it is
    batch = collator(list(labelled))
    assert batch["labels"].tolist() == [[1, 1], [1, 1]]
    assert batch["importance"].sum((1, 2)).tolist() == [10 * 9, 10 * 12] * 2  # every pixel that 30 to 39.5 touches
    with pytest.raises(ValueError, match=r"object 1: box reversed.*pass bbox_format='xywh'"):
        GuidanceCollator(SAME, "multi_label_classification", 2)(list(labelled))


@pytest.mark.parametrize("held", [{"mask": np.ones((30, 40), bool)}, {"importance": np.ones((30, 40))}])
def test_importance_without_labels_names_what_is_missing(held):
    bare = {"image": Image.new("RGB", (40, 30)), "image_id": "a"}
    with pytest.raises(
        ValueError, match=rf"image_id 'a'\) has '{next(iter(held))}' but no 'labels'.*To predict only, remove"
    ):
        GuidanceCollator(SAME, num_labels=1)([bare | held])
    assert list(GuidanceCollator(SAME, num_labels=1)([bare | {"objects": []}])) == ["pixel_values"]
    with pytest.raises(ValueError, match=r"row 1 .*neither 'labels' nor 'label'"):
        GuidanceCollator(SAME, num_labels=1)([row((1, 1, 9, 9)), bare])
