"""Boxes of zero width or height in pascal_voc and coco_objects, as the released code of arXiv 2303.11932 takes them."""

import numpy as np
import pytest
from raw_folders import coco_annotation, make_coco, make_voc, voc_object, write_xml

from hf_guidance.data.images.preparation import VANISHED

PAPER = {"preparation": "model_guidance"}

EMPTY_COCO_BOXES = {
    "height": (5, 6, 12, 0),  # annotation 918 of COCO 2014 is like this
    "width": (5, 6, 0, 12),
    "both": (5, 6, 0, 0),
    "clipped": (40.2, 6, 0.5, 12),
}


@pytest.mark.parametrize("bbox", EMPTY_COCO_BOXES.values(), ids=EMPTY_COCO_BOXES.keys())
@pytest.mark.parametrize("masks", [False, True])
def test_empty_coco_boxes_keep_their_class_and_are_counted(bbox, masks, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(0, bbox=bbox), coco_annotation(1, category=7)], count=1)
    splits, builder = prepare("coco_objects", data_dir=str(root), masks=masks, **PAPER)
    row = splits["train"][0]
    assert row["labels"] == [0, 1]
    assert [entry["category"] for entry in row["objects"]] == [1]
    assert builder.report[VANISHED]["count"] == 1
    assert "outline covers no pixel, box drawn instead" not in builder.report
    if masks:
        assert np.unique(np.asarray(row["mask"])).tolist() == [0, 2]
    with pytest.raises(ValueError, match="box of zero width or height"):
        prepare("coco_objects", data_dir=str(root))


def test_an_empty_coco_box_keeps_its_outline(tmp_path, prepare):
    outline = [[4, 6, 20, 6, 20, 18, 4, 18]]
    root = make_coco(tmp_path, [coco_annotation(0, bbox=(5, 6.5, 12, 0), segmentation=outline)], count=1)
    splits, _ = prepare("coco_objects", data_dir=str(root), masks=True, **PAPER)
    assert np.unique(np.asarray(splits["train"][0]["mask"])).tolist() == [0, 1]
    root = make_coco(tmp_path / "other", [coco_annotation(0, bbox=(5, 6.5, 12, 0))], count=1)
    splits, _ = prepare("coco_objects", data_dir=str(root), masks=True, **PAPER)
    assert not np.asarray(splits["train"][0]["mask"]).any()


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ((5, 6, 12, -3), "box reversed"),
        ((-0.2, 6, -0.3, 9), "box reversed"),
        ((5, 6, float("nan"), 0), "box not finite"),
        ((5, 60, 12, 900), "box outside the image"),
    ],
)
def test_other_bad_coco_boxes_are_still_refused(bbox, reason, tmp_path, prepare):
    root = make_coco(tmp_path, [coco_annotation(0, bbox=bbox)], count=1)
    with pytest.raises(ValueError, match=reason):
        prepare("coco_objects", data_dir=str(root), **PAPER)


@pytest.mark.parametrize("one_based", [True, False])
def test_empty_voc_boxes_keep_their_class_and_are_counted(one_based, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    clicks = voc_object("cat", (10, 1, 10, 5)) + voc_object("dog", (1, 5, 9, 5)) + voc_object("cat", (7, 7, 7, 7))
    write_xml(root / "Annotations" / "0.xml", clicks)
    splits, builder = prepare("pascal_voc", data_dir=str(root), one_based=one_based, **PAPER)
    assert splits["train"][0]["labels"] == [0, 1]
    assert splits["train"][0]["objects"] == []
    assert builder.report[VANISHED]["count"] == 3
    with pytest.raises(ValueError, match="box of zero width or height"):
        prepare("pascal_voc", data_dir=str(root), one_based=one_based)


@pytest.mark.parametrize(
    ("box", "reason"), [((9, 5, 2, 5), "box reversed"), (("x", 5, 2, 5), "box not finite"), ((50, 1, 99, 5), "outside")]
)
def test_other_bad_voc_boxes_are_still_refused(box, reason, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    write_xml(root / "Annotations" / "0.xml", voc_object("cat", box))
    with pytest.raises(ValueError, match=reason):
        prepare("pascal_voc", data_dir=str(root), **PAPER)
