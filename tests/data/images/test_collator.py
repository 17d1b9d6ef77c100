"""Rows to tensors: importance follows the pixels, whatever the processor does to them; bad rows are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ConvNextImageProcessor, ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.forward import ExplainedRows

SQUARE = ViTImageProcessor(size={"height": 32, "width": 32})


def picture(width=64, height=48, box=None):
    pixels = np.zeros((height, width, 3), np.uint8)
    if box is not None:
        pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels)


def row(box=(8, 4, 40, 36), labels=(1,), **more):
    objects = [{"bbox": [float(v) for v in box], "category": labels[0]}]
    return {"image": picture(box=box), "image_id": "a", "labels": list(labels), "objects": objects} | more


@pytest.mark.parametrize(
    "processor",
    [
        SQUARE,
        ViTImageProcessor(size={"height": 40, "width": 24}, do_normalize=False),
        ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.7),
        ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=[2.0, 1.0, 0.5]),
    ],
    ids=["square", "tall", "centre crop", "other normalisation"],
)
def test_importance_follows_the_pixels(processor):
    # The box is painted white on black: where the processed pixels are bright the importance must be one.
    batch = GuidanceCollator(processor, num_labels=3)([row(), row(box=(30, 20, 64, 48))])
    pixels = batch["pixel_values"][:, 0]
    low, high = pixels.flatten(1).min(1).values, pixels.flatten(1).max(1).values
    bright = (pixels - low[:, None, None]) / (high - low)[:, None, None]
    assert torch.equal(batch["importance"], (bright >= 0.5).float())
    assert batch["annotated"] == [True, True]


def test_mask_column_and_boxes_agree():
    mask = Image.fromarray(np.asarray(picture(box=(8, 4, 40, 36)))[..., 0])
    by_mask, by_boxes = (
        GuidanceCollator(SQUARE, num_labels=3, source=source)([row(mask=mask)]) for source in ("mask", "boxes")
    )
    assert torch.equal(by_mask["importance"], by_boxes["importance"])


def test_class_masks_give_each_class_its_part():
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :20], mask[:, 20:40] = 1, 3  # class 0, class 2
    both = row(labels=(0, 2), mask=Image.fromarray(mask))
    batch = GuidanceCollator(SQUARE, "multi_label_classification", 3)([both])
    assert batch["target"].tolist() == [0, 2]
    assert batch["importance"][0, :, :10].all()
    assert not batch["importance"][0, :, 10:].any()
    assert batch["importance"][1, :, 10:20].all()
    assert batch["labels"].tolist() == [[1.0, 0.0, 1.0]]


def test_union_of_the_boxes_of_one_class():
    objects = [{"bbox": [0.0, 0.0, 8.0, 48.0], "category": 0}, {"bbox": [56.0, 0.0, 64.0, 48.0], "category": 0},
               {"bbox": [20.0, 0.0, 40.0, 48.0], "category": 1}]  # fmt: skip
    batch = GuidanceCollator(SQUARE, "multi_label_classification", 2)([row(labels=(0, 1), objects=objects)])
    columns = batch["importance"][0].any(0)
    assert columns.tolist() == [x < 4 or x >= 28 for x in range(32)]
    assert (batch["row"], batch["slot"]) == ([0, 0], [0, 1])


def test_rows_without_boxes_or_not_to_be_used_are_not_annotated():
    batch = GuidanceCollator(SQUARE, num_labels=3)([row(objects=[]), row(annotated=False), row(), row(objects=None)])
    assert batch["annotated"] == [False, False, True, False]
    assert batch["importance"].flatten(1).any(1).tolist() == [False, False, True, False]


def test_an_image_without_labels_has_no_pair_and_is_never_drawn():
    rows = [row(labels=(0,)), {**row(), "labels": []}]
    batch = GuidanceCollator(SQUARE, "multi_label_classification", 3)(rows)
    assert batch["row"] == [0]
    assert ExplainedRows().draw_one_per_image(batch)["row"] == [0]
    assert batch["labels"][1].sum() == 0


def test_soft_importance_stays_soft():
    importance = np.full((48, 64), 0.25)
    batch = GuidanceCollator(SQUARE, num_labels=3)([row(importance=importance)])
    assert torch.allclose(batch["importance"], torch.tensor(0.25), atol=3e-3)


def test_pictures_without_a_processor_are_refused_with_those_that_fit():
    with pytest.raises(ValueError, match=r"no image_processor; give one of the two.*six channels, BcosImageProcessor"):
        GuidanceCollator(None, "multi_label_classification", 2)([row()])


def test_ready_pixel_values_need_no_processor():
    ready = {"pixel_values": torch.randn(3, 16, 24), "labels": [1], "objects": [{"bbox": [2, 3, 10, 9], "category": 1}]}
    batch = GuidanceCollator(None, num_labels=2)([ready, ready])
    assert batch["importance"].shape == (2, 16, 24)
    assert batch["importance"][0].sum() == 8 * 6
    assert torch.equal(batch["pixel_values"][0], ready["pixel_values"])


@pytest.mark.parametrize("processor", [SQUARE, ConvNextImageProcessor(size={"shortest_edge": 16}, crop_pct=0.5)])
@pytest.mark.parametrize("size", [(16, 24), (32, 32)])
def test_importance_of_ready_pixels_stays_where_it_is_whatever_the_processor(processor, size):
    objects = [{"bbox": [2, 3, 10, 9], "category": 1}]
    ready = {"pixel_values": torch.randn(3, *size), "labels": [1], "objects": objects}
    batch = GuidanceCollator(processor, num_labels=2)([ready, {**ready, "objects": []}])
    assert batch["importance"].shape == (2, *size)
    assert batch["importance"][0, 3:9, 2:10].all()
    assert batch["importance"].sum() == 8 * 6
    assert torch.equal(batch["pixel_values"][0], ready["pixel_values"])


def test_ready_pixels_and_images_in_one_batch_are_refused():
    ready = {"pixel_values": torch.randn(3, 32, 32), "labels": [1]}
    with pytest.raises(ValueError, match="mixes rows with pixel_values and rows with images"):
        GuidanceCollator(SQUARE, num_labels=2)([ready, row()])


def test_a_small_box_survives_the_resize_at_its_place():
    small = row(box=(37, 21, 38, 22))
    shrunk = ViTImageProcessor(size={"height": 12, "width": 16})
    importance = GuidanceCollator(shrunk, num_labels=3)([small])["importance"][0]
    assert importance.nonzero().tolist() == [[21 * 12 // 48, 37 * 16 // 64]]


def test_a_box_that_the_processor_crops_away_is_lost():
    crop = ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.25)
    for box in ((0, 0, 2, 2), (0, 0, 10, 10)):
        assert GuidanceCollator(crop, num_labels=3)([row(box=box)])["annotated"] == [False]


def test_truth_values_are_masks_of_any_class_and_ones_are_class_zero():
    inside = np.asarray(picture(box=(8, 4, 40, 36)))[..., 0] > 0
    boxes = GuidanceCollator(SQUARE, num_labels=3)([row()])["importance"]
    for mask in (inside, Image.fromarray(inside), torch.from_numpy(inside)):
        assert torch.equal(GuidanceCollator(SQUARE, num_labels=3)([row(mask=mask)])["importance"], boxes)
    ones = inside.astype(np.uint8)
    for label in range(3):
        batch = GuidanceCollator(SQUARE, num_labels=3)([row(labels=(label,), mask=ones)])
        assert batch["annotated"] == [label == 0]
    assert GuidanceCollator(SQUARE)([row(mask=np.full((48, 64), 2.0))])["importance"].all()


@pytest.mark.parametrize("kind", [bool, np.bool_, int, torch.tensor])
def test_every_kind_of_false_is_not_annotated(kind):
    rows = [row(annotated=kind(False)), row(annotated=kind(True)), row(annotated=None)]
    assert GuidanceCollator(SQUARE, num_labels=3)(rows)["annotated"] == [False, True, True]


def test_joint_augmentation_moves_box_and_pixels_together():
    from torchvision.transforms import v2

    flip = GuidanceCollator(SQUARE, num_labels=3, transform=v2.RandomHorizontalFlip(p=1.0))([row()])
    plain = GuidanceCollator(SQUARE, num_labels=3)([row()])
    assert torch.equal(flip["importance"], plain["importance"].flip(-1))
    assert torch.equal(flip["pixel_values"], plain["pixel_values"].flip(-1))


def test_a_crop_that_loses_the_box_loses_the_annotation():
    from torchvision.transforms import v2

    crop = GuidanceCollator(SQUARE, num_labels=3, transform=v2.CenterCrop(8))([row(box=(0, 0, 10, 10))])
    assert crop["annotated"] == [False]


def test_the_control_keeps_size_and_moves_place_the_same_way_every_time():
    true = GuidanceCollator(SQUARE, num_labels=3)
    moved = GuidanceCollator(SQUARE, num_labels=3, control_seed=3)
    rows = [row(image_id=str(i)) for i in range(20)]
    first, second, original = moved(rows), moved(rows), true(rows)
    assert torch.equal(first["importance"], second["importance"])
    areas = first["importance"].sum((1, 2))
    assert ((areas - original["importance"].sum((1, 2))).abs() <= 40).all()
    assert (first["importance"] != original["importance"]).flatten(1).any(1).sum() > 15
    other = GuidanceCollator(SQUARE, num_labels=3, control_seed=4)(rows)
    assert not torch.equal(first["importance"], other["importance"])


def test_unlabelled_rows_can_only_be_predicted():
    assert list(GuidanceCollator(SQUARE, num_labels=2)([{"image": picture()}])) == ["pixel_values"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": [{"bbox": [0.0, 0.0, 90.0, 9.0], "category": 1}]}, r"image_id 'a'.*outside the image"),
        ({"objects": [{"bbox": [9.0, 0.0, 9.0, 9.0], "category": 1}]}, "zero width"),
        ({"objects": [{"bbox": [9.0, 0.0, 3.0, 9.0], "category": 1}]}, "reversed"),
        ({"labels": [0, 1]}, r"labels \[0, 1\].*exactly one"),
        ({"labels": [7]}, "class 7.*0 to 2"),
        ({"labels": ["dog"]}, r"image_id 'a'.*labels \['dog'\]; give class indices as integers"),
        ({"labels": [1.0]}, r"labels \[1\.0\]; give class indices"),
        ({"labels": [True]}, r"labels \[True\]; give class indices"),
        ({"mask": Image.new("L", (10, 10))}, r"mask has size \(10, 10\).*resize"),
        ({"importance": np.full((48, 64), np.nan)}, "NaN"),
        ({"importance": np.full((48, 64), 200.0)}, r"importance in \[0, 200\]"),
        ({"image": None}, "no PIL image"),
        ({"image": torch.zeros(3, 48, 64)}, r"no PIL image.*Tensor.*with_format\(None\).*pixel_values"),
        ({"importance": [[0.0, 1.0], [0.0]]}, "importance cannot be read"),
        ({"importance": np.full((48, 64), "a")}, "importance holds.*not numbers"),
        ({"mask": np.full((48, 64), np.nan)}, "image_id 'a'.*mask holds NaN"),
        ({"mask": np.full((48, 64), np.inf)}, "mask holds NaN or infinity"),
        ({"mask": np.full((48, 64), 0.5)}, r"image_id 'a'.*value 0\.5.*1 to 3.*importance"),
        ({"mask": np.full((48, 64), 4, np.uint8)}, "value 4;.*1 to 3"),
        ({"mask": np.full((48, 64), 252, np.uint8)}, "value 252;.*JPEG"),
        ({"mask": np.full((48, 64), -1)}, "value -1"),
        ({"mask": np.full((48, 64), 256)}, "value 256"),
    ],
)
def test_bad_rows_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        GuidanceCollator(SQUARE, num_labels=3)([row(**change)])


@pytest.mark.parametrize(
    "labels",
    [[0.0, 0.0, 1.0], torch.tensor([0.0, 0.0, 1.0]), np.array([0.0, 1.0]), [True, False, True], [0, 0, 1], [0.7], "12"],
)
def test_entries_of_classes_are_no_indices(labels):
    with pytest.raises(ValueError, match=r"image_id 'a'.*give class indices as integers, each once"):
        GuidanceCollator(SQUARE, "multi_label_classification", 3)([row() | {"labels": labels}])


def test_an_empty_column_labels_does_not_hide_label():
    """As rows of two data sets have it that were concatenated."""
    batch = GuidanceCollator(SQUARE, num_labels=3)([row() | {"labels": None, "label": 2}, row(labels=(1,))])
    assert batch["labels"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("num_labels", "allowed"), [(None, "allowed is a class index from 0 on"), (3, "the model knows 0 to 2")]
)
def test_a_negative_class_is_refused(num_labels, allowed):
    with pytest.raises(ValueError, match=rf"has class -1, {allowed}"):
        GuidanceCollator(SQUARE, num_labels=num_labels)([row(labels=(-1,))])


@pytest.mark.parametrize(
    "labels", [[2, 0], (0, 2), {0, 2}, np.array([0, 2]), torch.tensor([0, 2]), [np.int64(0), torch.tensor(2)]]
)
def test_indices_of_any_kind_are_labels(labels):
    batch = GuidanceCollator(SQUARE, "multi_label_classification", 3)([row() | {"labels": labels}])
    assert batch["labels"].tolist() == [[1.0, 0.0, 1.0]]


def test_a_batch_is_float32_whatever_the_default(monkeypatch):
    torch.set_default_dtype(torch.float64)
    try:
        batch = GuidanceCollator(SQUARE, "multi_label_classification", 3)([row()])
    finally:
        torch.set_default_dtype(torch.float32)
    assert batch["labels"].dtype == batch["importance"].dtype == torch.float32


def test_a_truncated_mask_is_named(tmp_path):
    file = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (48, 64)).astype(np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"image_id 'a'\): mask cannot be read"):
        GuidanceCollator(SQUARE, num_labels=3)([row(mask=Image.open(file))])


def test_a_truncated_image_is_named(tmp_path):
    file = tmp_path / "cut.jpg"
    picture(400, 300, box=(10, 10, 200, 200)).save(file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"row 0 of the batch \(image_id 'a'\): the image cannot be read"):
        GuidanceCollator(SQUARE, num_labels=3)([row(image=Image.open(file))])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problem_type": "regression"}, "problem_type='regression'.*choose"),
        ({"source": "boxen"}, "source='boxen'.*choose"),
        ({"problem_type": "multi_label_classification"}, "num_labels"),
        ({"num_labels": 3, "box_dilation": "0.1"}, "box_dilation='0.1'.*a share"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GuidanceCollator(SQUARE, **options)


def test_a_missing_source_column_is_named():
    bare = {name: value for name, value in row().items() if name != "objects"}
    with pytest.raises(ValueError, match="no column 'objects'"):
        GuidanceCollator(SQUARE, num_labels=3, source="boxes")([bare])
