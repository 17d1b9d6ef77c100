"""A transform of rows carries boxes, masks and importance along with the pixels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from photo_rows import rows_of
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2
from transformers import ViTImageProcessor

from hf_guidance.data import GuidanceCollator, JointTransform
from hf_guidance.data.images.objects import MovedBox

TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
SOURCES = ("importance", "mask", "objects")


def box_mask(box, shape):
    found = np.zeros(shape, bool)
    found[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
    return found


@pytest.mark.parametrize(
    ("geometry", "kept"),
    [
        ([v2.RandomHorizontalFlip(1.0)], 2), ([v2.Resize((40, 80))], 2), ([v2.Resize((10, 20))], 2),
        ([v2.CenterCrop((16, 32))], 2), ([v2.CenterCrop((20, 20))], 1), ([v2.RandomVerticalFlip(1.0)], 2),
        ([v2.RandomCrop((12, 12)), v2.ColorJitter(0.1)], None), ([v2.Normalize([0.5] * 3, [0.5] * 3)], 2),
    ],
)  # fmt: skip
def test_boxes_and_masks_follow_the_pixels(geometry, kept):
    after_tensor = [t for t in geometry if isinstance(t, v2.Normalize)]
    pipeline = v2.Compose([*(t for t in geometry if t not in after_tensor), *TENSOR, *after_tensor])
    rows = rows_of().with_transform(JointTransform(pipeline))
    for _ in range(3):
        row = rows[0]
        assert "image" not in row
        white = row["pixel_values"][0].numpy() > 0.5
        np.testing.assert_array_equal(row["mask"] == 2, white)
        boxes = [entry["bbox"] for entry in row["objects"] if entry["category"] == 1]
        assert len(boxes) == int(white.any())
        if boxes:
            np.testing.assert_array_equal(box_mask(boxes[0], white.shape), white)
        assert kept is None or len(row["objects"]) == kept
        assert row["labels"] == [0, 1]
    assert rows["labels"][0] == [0, 1]


def test_a_row_without_boxes_or_masks_and_a_dict_of_lists():
    transform = JointTransform(v2.Compose([v2.RandomHorizontalFlip(1.0), *TENSOR]))
    image, importance = Image.new("RGB", (4, 2)), [[0.0, 0.5, 0.0, 1.0]] * 2
    made = transform({"image": [image] * 3, "objects": [None, [], {"bbox": [[0, 0, 1, 2]], "category": [3]}],
                      "importance": [None, importance, importance]})  # fmt: skip
    assert made["objects"] == [None, [], [{"bbox": [3.0, 0.0, 4.0, 2.0], "category": 3}]]
    assert made["importance"][0] is None
    np.testing.assert_array_equal(made["importance"][1], np.array(importance)[:, ::-1])


FLIP = v2.Compose([v2.RandomHorizontalFlip(1.0), *TENSOR])
WHITE = Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((6, 6), (4, 28))))  # 4, 6 to 12, 14, in 40 x 20
KINDS = {
    "8 bit": WHITE,
    "16 bit": Image.fromarray(np.asarray(WHITE).astype(np.uint16) * 257),
    "grey RGB": WHITE.convert("RGB"),
    "grey palette": WHITE.convert("P"),
    "truth values": WHITE.convert("1"),
    "array": np.asarray(WHITE) / 255,
    "list": (np.asarray(WHITE) / 255).tolist(),
}


def directly(row, **options):
    """The batch of a row whose image, boxes and maps the collator flips."""
    processor = ViTImageProcessor(size={"height": 20, "width": 40}, do_normalize=False)
    flip = v2.RandomHorizontalFlip(1.0)
    return GuidanceCollator(processor, num_labels=1, transform=flip, **options)([row])


def jointly(row, given="xyxy", **options):
    made = JointTransform(FLIP, given)({name: [value] for name, value in row.items()})
    return GuidanceCollator(None, num_labels=1, **options)([{name: values[0] for name, values in made.items()}])


def bare(**columns):
    return {"image": Image.new("RGB", (40, 20)), "image_id": "a", "labels": 0, **columns}


@pytest.mark.parametrize(
    ("kind", "column"),
    [*((kind, "importance") for kind in KINDS), *((kind, "mask") for kind in KINDS if kind != "16 bit")],
)
def test_maps_of_every_kind_are_read_as_without_a_transform(kind, column):
    row = bare(**{column: KINDS[kind]})
    ours, theirs = jointly(row), directly(row)
    assert torch.equal(ours["importance"], theirs["importance"])
    assert ours["importance"].sum() == 64


@pytest.mark.parametrize("bits", [8, 16])
def test_photos_keep_their_range(bits):
    image = Image.fromarray(np.full((20, 40), 20000 if bits == 16 else 78, f"u{bits // 8}"))
    assert torch.allclose(jointly(bare(image=image))["pixel_values"], torch.tensor(78 / 255), atol=3e-3)


BOX = {"bbox": [4, 6, 12, 14], "category": 0}
REFUSED = {
    "reversed": bare(objects=[{**BOX, "bbox": [12, 6, 4, 14]}]),
    "outside": bare(objects=[{**BOX, "bbox": [50, 6, 60, 14]}]),
    "NaN": bare(objects=[{**BOX, "bbox": [float("nan"), 6, 12, 14]}]),
    "shares": bare(objects=[{**BOX, "bbox": [0.1, 0.3, 0.3, 0.7]}]),
    "no bbox": bare(objects=[{"category": 0}]),
    "three numbers": bare(objects=[{**BOX, "bbox": [4, 6, 12]}]),
    "two of two numbers": bare(objects=[{**BOX, "bbox": [4, 6]}, {**BOX, "bbox": [12, 14]}]),
    "one box for a list": bare(objects={"bbox": [4, 6, 12, 14], "category": 0}),
    "no image": bare(image=None),
    "an array": bare(image=np.zeros((20, 40, 3), np.uint8)),
    "floats": bare(image=Image.fromarray(np.full((20, 40), 0.5, np.float32))),
    "map of another size": bare(importance=np.ones((10, 20))),
    "mask of another size": bare(mask=WHITE.resize((20, 10))),
    "map above one": bare(importance=np.full((20, 40), 2.0)),
    "coloured map": bare(importance=Image.new("RGB", (40, 20), "red")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_collator_refuses_is_refused_in_its_words(case):
    errors = []
    for read in (directly, jointly):
        with pytest.raises(ValueError, match=r"row 0 of the batch \(image_id 'a'\)") as error:
            read(REFUSED[case])
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("objects", [None, [], {"bbox": None, "category": None}, {"bbox": [], "categories": []}])
def test_rows_without_objects(objects):
    assert jointly(bare(objects=objects))["annotated"] == [False]


def test_boxes_of_coco_come_out_as_corners():
    coco, corners = bare(objects=[{**BOX, "bbox": [4, 6, 8, 8]}]), bare(objects=[BOX])
    expected = jointly(corners)["importance"]
    assert torch.equal(expected, directly(corners)["importance"])
    assert torch.equal(jointly(coco, "xywh")["importance"], expected)
    for row, given in ((coco, "xywh"), (corners, "xyxy")):  # a moved box is xyxy, however it was given
        with pytest.raises(ValueError, match="told bbox_format='xywh', but JointTransform makes xyxy of all boxes"):
            jointly(row, given, bbox_format="xywh")
    with pytest.raises(ValueError, match=r"bbox_format='cxcywh'.*xywh"):
        JointTransform(FLIP, "cxcywh")
    made = JointTransform(FLIP, "xywh")({name: [value] for name, value in coco.items()})
    box = pickle.loads(pickle.dumps(made))["objects"][0][0]["bbox"]
    assert (box, type(box)) == ([28, 6, 36, 14], MovedBox)


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"annotated": False, "objects": [{**BOX, "bbox": [2, 2, 900, 10]}]}, {}),
        ({"annotated": False, "objects": [{"bbox": None}]}, {}),
        ({"mask": np.eye(20, 40, dtype=np.uint8), "objects": [{"bbox": [4, 6, 12, 14], "name": "cat"}]}, {}),
        (
            {"mask": np.eye(20, 40, dtype=np.uint8), "objects": {"bbox": [[4, 6, 12, 14]], "name": ["cat"]}},
            {"source": "mask"},
        ),
    ],
)
def test_objects_that_the_collator_does_not_read_are_not_refused(columns, options):
    row = bare(**columns)
    assert torch.equal(jointly(row, **options)["importance"], directly(row, **options)["importance"])


def test_what_a_crop_leaves_of_a_box_may_be_less_than_a_pixel():
    """A sliver in the corner is no share of the image."""
    row = bare(image=Image.new("RGB", (80, 80)), objects=[{**BOX, "bbox": [0, 0, 40.5, 40.25]}])
    crop = v2.Lambda(lambda given: v2.functional.crop(given, 40, 40, 40, 40), object)
    made = JointTransform(v2.Compose([crop, *TENSOR]))({name: [value] for name, value in row.items()})
    assert made["objects"][0][0]["bbox"] == [0, 0, 0.5, 0.25]
    batch = GuidanceCollator(None, num_labels=1)([{name: values[0] for name, values in made.items()}])
    assert batch["importance"][0].nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (v2.RandomHorizontalFlip(1.0), r"made a Image of an image, not \(channels, height, width\) floating point"),
        (v2.ToImage(), r"made a Image of an image.*v2.ToDtype"),
        (
            v1.Compose([v1.Resize((8, 8)), v1.ToTensor()]),
            "cannot be called with an image, boxes and masks.*transforms.v2",
        ),
        (lambda image, *rest: (v1.ToTensor()(image.resize((8, 8))), *rest), r"pixels of \(8, 8\), boxes and masks of"),
    ],
)
def test_a_transform_that_moves_the_image_alone_is_refused(pipeline, message):
    with pytest.raises(ValueError, match=message):
        rows_of().with_transform(JointTransform(pipeline))[0]
