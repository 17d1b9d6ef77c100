"""Images for B-cos nets."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.models import BcosImageProcessor, BcosResNetConfig


def picture(height=40, width=60, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_colours_and_complements():
    image = picture()
    pixels = BcosImageProcessor(do_resize=False)(image, return_tensors="pt").pixel_values
    colours = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(pixels[0], torch.cat([colours, 1 - colours]), rtol=0, atol=1e-7)
    assert pixels.dtype == torch.float32


def test_resizing_and_batches():
    processor = BcosImageProcessor(size={"height": 24, "width": 36})
    pixels = processor(images=[picture(), picture(30, 20, 1), picture(24, 36, 2)], return_tensors="pt").pixel_values
    assert pixels.shape == (3, 6, 24, 36)
    assert 0 <= pixels.min() <= pixels.max() <= 1
    torch.testing.assert_close(pixels[:, :3] + pixels[:, 3:], torch.ones(3, 3, 24, 36))
    assert BcosImageProcessor()(picture(), return_tensors="pt").pixel_values.shape == (1, 6, 224, 224)


def test_grey_pictures_and_arrays():
    grey = picture().convert("L")
    processor = BcosImageProcessor(size={"height": 16, "width": 16})
    pixels = processor(grey, return_tensors="pt").pixel_values
    assert pixels.shape == (1, 6, 16, 16)
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    array = np.asarray(picture(), dtype=np.float32) / 255
    unit = processor(array, do_rescale=False, return_tensors="pt").pixel_values
    torch.testing.assert_close(unit, processor(picture(), return_tensors="pt").pixel_values, rtol=0, atol=5e-3)


def test_a_saved_processor_loads_through_the_auto_class(tmp_path):
    processor = BcosImageProcessor(size={"height": 24, "width": 36})
    processor.save_pretrained(tmp_path)
    BcosResNetConfig().save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(loaded) is BcosImageProcessor
    image = picture()
    ours, theirs = (one(image, return_tensors="pt").pixel_values for one in (loaded, processor))
    assert torch.equal(ours, theirs)


def test_masks_go_through_it_in_the_collator():
    """Boxes come back at the processor's size, though the pixels hold six channels."""
    rows = [
        {"image": picture(), "label": 0, "objects": [{"bbox": [30, 0, 60, 20], "category": 0}]},
        {"image": picture(30, 20, 1), "label": 1, "objects": [{"bbox": [0, 15, 10, 30], "category": 1}]},
    ]
    collator = GuidanceCollator(BcosImageProcessor(size={"height": 20, "width": 40}), num_labels=2, source="boxes")
    batch = collator(rows)
    assert batch["pixel_values"].shape == (2, 6, 20, 40)
    expected = torch.zeros(2, 20, 40)
    expected[0, :10, 20:] = 1
    expected[1, 10:, :20] = 1
    assert torch.equal(batch["importance"], expected)


@pytest.mark.parametrize("asked", [{"do_normalize": True}, {"do_normalize": True, "image_mean": 0.5, "image_std": 0.5}])
def test_normalisation_is_refused(asked):
    message = r"do_normalize=True\): B-cos nets read colours in \[0, 1\]"
    with pytest.raises(ValueError, match=message):
        BcosImageProcessor(**asked)
    with pytest.raises(ValueError, match=message):
        BcosImageProcessor()(picture(), **asked)


UNIT = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "asked", "message"),
    [
        (
            picture(),
            {"do_rescale": False},
            r"torch.uint8 pixels from 0 to 255 with do_rescale=False;.*rescale_factor=1/255",
        ),
        (Image.new("RGB", (8, 8)), {"do_rescale": False}, "torch.uint8 pixels.*do_rescale=False"),
        (np.zeros((3, 8, 8), np.int64), {"do_rescale": False}, "torch.int64 pixels.*do_rescale=False"),
        (picture(), {"rescale_factor": 1 / 127.5}, r"do_rescale=True, rescale_factor=0.00784314; a B-cos net reads"),
        (Image.new("RGB", (8, 8)), {"rescale_factor": 1 / 127.5}, "rescale_factor=0.00784314"),
        (UNIT * 255, {"do_rescale": False}, r"torch.float32 pixels from .* with do_rescale=False"),
        (UNIT * 2 - 1, {"do_rescale": False}, "torch.float32 pixels from -"),
        (UNIT * 510, {}, "rescale_factor=0.00392157"),
        (np.full((3, 8, 8), np.nan, np.float32), {}, "pixels from nan to nan"),
    ],
)
def test_pixels_that_have_no_complements_are_refused(image, asked, message):
    with pytest.raises(ValueError, match=message):
        BcosImageProcessor(size={"height": 16, "width": 16})(image, return_tensors="pt", **asked)


def test_floats_are_colours_from_0_to_255_or_from_0_to_1():
    processor = BcosImageProcessor(do_resize=False)
    whole = processor(UNIT * 255, return_tensors="pt").pixel_values
    unit = processor(UNIT, do_rescale=False, return_tensors="pt").pixel_values
    torch.testing.assert_close(whole, unit, rtol=0, atol=1e-6)


def test_floats_that_are_scaled_already_are_told(monkeypatch):
    told = []
    monkeypatch.setattr("hf_guidance.models.bcos_resnet.image_processing.logger.warning_once", told.append)
    processor = BcosImageProcessor(do_resize=False)
    for image, asked in ((picture(), {}), (UNIT * 255, {}), (UNIT, {"do_rescale": False}), (np.zeros_like(UNIT), {})):
        processor(image, **asked)
    assert not told
    processor(UNIT)
    assert len(told) == 1
    assert "set do_rescale=False" in told[0]


@pytest.mark.parametrize("resample", [2, 3])
def test_resized_floats_stay_in_range(resample):
    """Bicubic interpolation would put out less than 0 and more than 1 at an edge."""
    edge = np.zeros((3, 20, 20), np.float32)
    edge[..., 10:] = 1
    processor = BcosImageProcessor(size={"height": 50, "width": 50}, resample=resample, do_rescale=False)
    pixels = processor(edge, return_tensors="pt").pixel_values
    assert pixels.min() == 0
    assert pixels.max() == 1
    torch.testing.assert_close(pixels[:, :3] + pixels[:, 3:], torch.ones(1, 3, 50, 50))


@pytest.mark.parametrize("shape", [(6, 16, 20), (16, 20, 6), (2, 6, 16, 20)])
@pytest.mark.parametrize("listed", [True, False])
def test_encoded_images_are_refused(shape, listed):
    image = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=r"six channels are what it puts out.*three channels"):
        BcosImageProcessor(do_rescale=False)([image] if listed else image)
