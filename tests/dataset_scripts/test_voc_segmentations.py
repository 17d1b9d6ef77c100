"""pascal_voc with the outlines of SegmentationClass: the row format's mask, and what is wrong with one."""

import numpy as np
import pytest
from PIL import Image
from raw_folders import make_voc, voc_object, write_xml
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data.images.rows import class_mask

VOC_CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def outline() -> np.ndarray:
    """A cat (class 0) on the left and a dog (class 1) on the right, with a rim of void between them."""
    mask = np.zeros((30, 40), np.uint8)
    mask[2:20, 3:15], mask[5:28, 20:38] = 1, 2
    mask[2:20, 15] = mask[5:28, 19] = 255
    return mask


def write(root, mask, mode="P", name="0"):
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette([value % 256 for value in range(0, 768 * 7, 7)])
    (root / "SegmentationClass").mkdir(exist_ok=True)
    image.save(root / "SegmentationClass" / f"{name}.png")


@pytest.mark.parametrize("mode", ["P", "L"])
def test_masks_are_of_the_row_format(mode, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    write(root, outline(), mode)
    splits, builder = prepare("pascal_voc", data_dir=str(root), segmentations=True)
    first, second = splits["train"]
    expected = outline()
    for category in (0, 1):
        assert np.array_equal(class_mask(first["mask"], category), expected == category + 1)
    assert set(np.unique(first["mask"])) == {0, 1, 2}  # a rim is of no class, and 255 would be of any
    assert second["mask"] is None
    assert builder.report == {}
    plain, _ = prepare("pascal_voc", data_dir=str(root))
    assert "mask" not in plain["train"].features


def test_boxes_and_outlines_of_one_row_come_by_the_source(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    write(root, outline())
    splits, _ = prepare("pascal_voc", data_dir=str(root), segmentations=True)
    processor = ViTImageProcessor(size={"height": 30, "width": 40})
    masks, boxes = (
        GuidanceCollator(processor, "multi_label_classification", 2, source=source)(list(splits["train"]))
        for source in ("mask", "boxes")
    )
    assert [int(part.sum()) for part in masks["importance"]] == [18 * 12, 23 * 18]
    assert [int(part.sum()) for part in boxes["importance"]] == [10 * 10, 36 * 25]


def test_prepared_masks_take_the_nearest_pixel(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    write(root, outline())
    splits, _ = prepare("pascal_voc", data_dir=str(root), segmentations=True, preparation="model_guidance")
    expected = Image.fromarray(np.where(outline() == 255, 0, outline())).resize((224, 224), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(splits["train"][0]["mask"]), np.asarray(expected))


BAD = {
    "size": (
        lambda root: write(root, outline()[:, :30]),
        "size of segmentation and image differ",
        r"SegmentationClass/0\.png: it is 30x30, the image 40x30",
    ),
    "class": (
        lambda root: write(root, outline() + np.uint8(1)),
        "malformed segmentation",
        r"it holds 3; allowed: 0 \(nothing\), 1 to 2",
    ),
    "colours": (
        lambda root: write(root, np.zeros((30, 40, 3), np.uint8), "RGB"),
        "malformed segmentation",
        "not colours",
    ),
    "cut": (
        lambda root: (
            write(root, outline()),
            (root / "SegmentationClass" / "0.png").write_bytes(
                (root / "SegmentationClass" / "0.png").read_bytes()[:60]
            ),
        ),
        "unreadable or truncated image",
        r"0\.png: the image is unreadable",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_segmentations(case, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    spoil, reason, message = BAD[case]
    spoil(root)
    with pytest.raises(ValueError, match=message):
        prepare("pascal_voc", data_dir=str(root), segmentations=True)
    splits, builder = prepare("pascal_voc", data_dir=str(root), segmentations=True, invalid="skip")
    assert {key: entry["count"] for key, entry in builder.report.items()} == {reason: 1}
    assert splits["train"][0]["mask"] is None
    assert len(splits["train"][0]["objects"]) == 2


def test_changed_outlines_are_read_again(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    prepare("pascal_voc", data_dir=str(root), segmentations=True)
    write(root, outline())
    splits, _ = prepare("pascal_voc", data_dir=str(root), segmentations=True)
    assert splits["train"][0]["mask"] is not None


def test_too_many_classes_for_a_mask(tmp_path, build):
    root = make_voc(tmp_path / "raw", 1)
    names = [f"class {index}" for index in range(255)]
    with pytest.raises(ValueError, match="segmentations: 255 classes; a mask holds at most 254"):
        build("pascal_voc", data_dir=str(root), segmentations=True, names=names)


@pytest.mark.parametrize(("options", "number"), [({}, 1), ({"names": ["dog", "bird", "cat"]}, 2)])
def test_a_mask_of_a_class_that_no_object_has_counts_other_classes(options, number, tmp_path, prepare):
    """As VOC's own masks do where only some of its classes are in the folder: there 8 is the cat."""
    root = make_voc(tmp_path / "raw", 2)
    write_xml(root / "Annotations" / "0.xml", voc_object("dog", flags="<difficult>1</difficult>"))
    for index, drawn in enumerate((number, 1)):
        mask = np.zeros((30, 40), np.uint8)
        mask[:9, :9] = drawn
        (root / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{index}.png")
    given = {"data_dir": str(root), "segmentations": True, "difficult": "drop", **options}
    with pytest.raises(
        ValueError, match=r"0\.png: by its numbers it shows \['(cat|bird)'\], the objects are \['dog'\]"
    ):
        prepare("pascal_voc", **given)
    splits, builder = prepare("pascal_voc", **given, invalid="skip")
    assert splits["train"][0]["mask"] is None
    assert np.unique(splits["train"][1]["mask"]).tolist() == [0, 1]
    assert builder.report["segmentation of a class that no object has"]["count"] == 1


def test_of_voc_s_own_classes_a_mask_may_show_more_than_the_objects(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    mask = np.full((30, 40), 20, np.uint8)  # tvmonitor
    write(root, mask)
    splits, builder = prepare("pascal_voc", data_dir=str(root), segmentations=True, names=VOC_CLASSES)
    assert np.array_equal(splits["train"][0]["mask"], mask)
    assert {key: entry["count"] for key, entry in builder.report.items()} == {
        "segmentation of a class that no object has": 1
    }
