"""Crops and flips: boxes and masks follow the pixels exactly, and what is cut away is not annotated."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data.images.augmentation import RandomCropAndFlip
from hf_guidance.data.images.hard_masks import is_hard, sharpened

SIDE = 48
SAME = ViTImageProcessor(size={"height": SIDE, "width": SIDE}, do_normalize=False)


def painted(box, width=120, height=90):
    """A photo that is white inside the box and black outside: its own mask."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels).convert("RGB")


def row(box, label=0):
    objects = [{"bbox": [float(v) for v in box], "category": label}]
    return {"image": painted(box), "image_id": "a", "labels": [label], "objects": objects}


boxes = st.tuples(st.integers(0, 100), st.integers(0, 70), st.integers(4, 120), st.integers(4, 90)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 120), min(b[1] + b[3], 90))
)


@given(boxes, st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_boxes_follow_the_pixels(box, seed):
    torch.manual_seed(seed)
    batch = GuidanceCollator(SAME, num_labels=1, transform=RandomCropAndFlip(SIDE))([row(box)])
    bright = batch["pixel_values"][0, 0]  # in [0, 1]
    importance = batch["importance"][0] > 0
    if bright.max() >= 0.5:
        assert torch.equal(importance, bright >= 0.5)
    else:  # a rest that fills no pixel to the half keeps its brightest ones; no rest, no annotation
        assert torch.equal(importance, (bright == bright.max()) & (bright > 0))
    assert batch["annotated"] == [bool(bright.max() > 0)]


def test_every_part_and_its_mirror_image_is_drawn():
    places, areas, shares = set(), [], []
    ramp = np.tile(np.arange(120, dtype=np.uint8)[None, :, None], (90, 1, 3))
    transform = RandomCropAndFlip(16, scale=(0.2, 0.6))
    torch.manual_seed(0)
    for _ in range(300):
        image, _ = transform(Image.fromarray(ramp), tv_tensors.Mask(torch.zeros(0, 90, 120, dtype=torch.uint8)))
        line = np.asarray(image)[0, :, 0].astype(int)
        places.add(bool(line[-1] < line[0]))
        areas.append(abs(line[-1] - line[0]) / 120)
        shares.append(line[-1] < line[0])
    assert places == {True, False}
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)
    assert max(areas) - min(areas) > 0.2


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_whole_image_resized_is_what_pil_makes_of_it(flip):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    # Scale 1 and ratio 4 / 3 leave nothing to draw.
    transform = RandomCropAndFlip((30, 40), scale=(1, 1), ratio=(4 / 3, 4 / 3), flip=flip)
    image, _ = transform(noise, tv_tensors.Mask(torch.zeros(1, 90, 120, dtype=torch.uint8)))
    expected = np.asarray(noise.resize((40, 30), Image.Resampling.BILINEAR))
    assert np.array_equal(np.asarray(image), expected[:, ::-1] if flip else expected)


def test_masks_of_several_classes_and_soft_maps_take_the_same_part():
    ramp = torch.arange(120, dtype=torch.uint8).expand(90, 120)
    hard = torch.zeros(90, 120, dtype=torch.uint8)
    hard[:, 60:] = 255
    image = Image.fromarray(np.tile(ramp.numpy()[..., None], (1, 1, 3)))
    torch.manual_seed(3)
    image, masks = RandomCropAndFlip(32)(image, tv_tensors.Mask(torch.stack([ramp, hard, torch.zeros_like(hard)])))
    assert isinstance(masks, tv_tensors.Mask)
    assert masks.dtype == torch.uint8
    pixels = torch.from_numpy(np.asarray(image)[..., 0].copy())
    assert (masks[0].int() - pixels.int()).abs().max() <= 1  # a soft map is interpolated as the pixels are
    assert is_hard(masks[1:]).all()
    inside = masks[1] == 255
    assert bool(inside.any())
    assert pixels[inside].min() >= 59
    assert pixels[~inside].max() <= 60
    assert not masks[2].any()


def test_a_thin_box_survives_the_resize():
    for seed in range(20):
        torch.manual_seed(seed)
        transform = RandomCropAndFlip(12, scale=(0.9, 1.0))
        batch = GuidanceCollator(SAME, num_labels=1, transform=transform)([row((59, 40, 60, 50))])
        assert batch["annotated"] == [True]


def test_a_vanished_box_is_not_annotated_and_others_stay():
    torch.manual_seed(0)
    corner, whole = row((0, 0, 3, 3)), row((0, 0, 120, 90))
    transform = RandomCropAndFlip(SIDE, scale=(0.08, 0.1))
    batch = GuidanceCollator(SAME, num_labels=1, transform=transform)([corner, whole])
    assert batch["annotated"] == [False, True]
    assert batch["importance"][1].all()
    assert batch["labels"].tolist() == [0, 0]


def test_ready_pixels_are_cropped_too():
    ready = torch.zeros(3, 90, 120)
    ready[:, 10:50, 20:80] = 1
    objects = [{"bbox": [20, 10, 80, 50], "category": 0}]
    torch.manual_seed(1)
    collator = GuidanceCollator(None, num_labels=1, transform=RandomCropAndFlip(SIDE))
    batch = collator([{"pixel_values": ready, "labels": [0], "objects": objects}] * 2)
    assert batch["pixel_values"].shape == (2, 3, SIDE, SIDE)
    for pixels, importance in zip(batch["pixel_values"], batch["importance"], strict=True):
        differs = (importance > 0) != (pixels[0] >= 0.5)
        assert differs.float().mean() < 0.01
        assert ((pixels[0][differs] - 0.5).abs() < 1 / 255).all()  # masks are of 8 bits


def test_the_outside_of_a_box_follows_as_a_mask():
    outside = np.full((90, 120), 255, np.uint8)
    outside[20:60, 30:90] = 0
    given = {**row((30, 20, 90, 60)), "mask": Image.fromarray(outside), "objects": []}
    for seed in range(10):
        torch.manual_seed(seed)
        batch = GuidanceCollator(SAME, num_labels=1, transform=RandomCropAndFlip(SIDE))([given])
        bright = batch["pixel_values"][0, 0]
        assert torch.equal(batch["importance"][0] > 0, 1 - bright >= 0.5)


def test_draws_follow_the_global_generator():
    collator = GuidanceCollator(SAME, num_labels=1, transform=RandomCropAndFlip(SIDE))
    torch.manual_seed(5)
    first = [collator([row((10, 10, 90, 60))])["importance"] for _ in range(4)]
    torch.manual_seed(5)
    second = [collator([row((10, 10, 90, 60))])["importance"] for _ in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not torch.equal(first[0], other) for other in first[1:])


def test_torchvisions_own_pipeline_carries_boxes_to_within_a_pixel():
    pipeline = v2.Compose([v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip()])
    collator = GuidanceCollator(SAME, num_labels=1, transform=pipeline)
    for seed in range(30):
        torch.manual_seed(seed)
        batch = collator([row((30, 20, 90, 60))])
        bright, importance = batch["pixel_values"][0, 0] >= 0.5, batch["importance"][0] > 0
        grown, shrunk = (
            torch.nn.functional.max_pool2d(part[None, None].float(), 3, 1, 1)[0, 0] > 0 for part in (bright, ~bright)
        )
        assert not (importance & ~grown).any()  # nearest neighbours shift an edge by a pixel at most
        assert not (~importance & ~shrunk).any()


def test_half_decides_and_the_thin_keep_their_brightest():
    grey = torch.tensor([[[0.49, 0.5]], [[0.1, 0.2]], [[0.0, 0.0]], [[5e-4, 0.0]]])
    expected = [[[False, True]], [[False, True]], [[False, False]], [[False, False]]]
    assert sharpened(grey).tolist() == expected
    assert is_hard(torch.tensor([[[0, 255]], [[0, 254]], [[0, 0]]], dtype=torch.uint8)).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size=0 is not positive"),
        ({"size": (224, -1)}, r"size=\(224, -1\) is not positive"),
        ({"size": 32.5}, r"size=32\.5; give a height and a width"),
        ({"size": (32, 32, 3)}, r"size=\(32, 32, 3\); give a height and a width"),
        ({"size": "32"}, "size='32'; give a height and a width"),
        ({"scale": (0.0, 1.0)}, r"scale=\(0\.0, 1\.0\).*0 < least <= largest <= 1"),
        ({"scale": (0.5, 0.2)}, "scale="),
        ({"scale": (0.5, 1.2)}, "scale="),
        ({"ratio": (2.0, 0.5)}, r"ratio=\(2\.0, 0\.5\).*swap"),
        ({"ratio": (0.0, 1.0)}, "ratio="),
        ({"flip": 1.5}, r"flip=1\.5 is outside \[0, 1\]"),
        ({"flip": float("nan")}, "flip=nan"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RandomCropAndFlip(**{"size": 224, **options})
