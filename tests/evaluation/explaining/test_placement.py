"""Where the model's pixels lie in an image, for processors that resize, crop, pad and flip, and maps brought there."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nets import OnePixel, photo
from torchvision.transforms import v2
from transformers import CLIPImageProcessor, ConvNextImageProcessor, ViTImageProcessor

from hf_guidance import explain
from hf_guidance.attributions import InputXGradient
from hf_guidance.evaluation.explaining.pixels import processed
from hf_guidance.evaluation.explaining.placement import Placement, Placements

RESIZE = ViTImageProcessor(size={"height": 32, "width": 48})
CROP = CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})


def placement(processor, size):
    return Placements(lambda picture: processed(processor, picture)["pixel_values"][0].numpy(), "it").of(size)


def edges(found):
    return np.array([found.top, found.bottom, found.left, found.right])


@pytest.mark.parametrize("size", [(60, 90), (7, 5), (31, 200), (1, 1), (2, 40), (400, 333), (1200, 31)])
@pytest.mark.parametrize(
    "processor", [RESIZE, v2.Compose([v2.Resize((24, 17)), v2.ToImage(), v2.ToDtype(torch.float32)])]
)
def test_what_only_resizes_covers_the_image(processor, size):
    assert placement(processor, size) == Placement.whole(size)


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (400, 333), (1001, 300), (36, 36), (20, 31)])
def test_a_center_crop_covers_the_middle(size):
    found = placement(CROP, size)
    scale = min(size) / 36
    resized = [36 * side // min(size) for side in size]
    cut = [(side - 32) // 2 for side in resized]
    axes = zip(size, cut, resized, strict=True)
    expected = [at * side / new for side, start, new in axes for at in (start, start + 32)]
    assert np.abs(edges(found) - expected).max() < 0.35 * scale  # of a pixel of the model


def test_a_processor_that_crops_by_a_share():
    processor = ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    found = placement(processor, (72, 72))
    assert np.abs(edges(found) - [4.5, 67.5, 4.5, 67.5]).max() < 0.7


def test_padding_lies_outside_of_the_image():
    pad = v2.Compose([v2.Resize((30, 20)), v2.Pad((5, 10, 15, 0)), v2.ToImage(), v2.ToDtype(torch.float32)])
    found = placement(pad, (60, 40))
    assert np.abs(edges(found) - [-20, 60, -10, 70]).max() < 0.3
    assert found.seen == (0, 60, 0, 40)


def test_a_flip_is_followed():
    flip = v2.Compose([v2.Resize((32, 32)), v2.RandomHorizontalFlip(1.0), v2.ToImage(), v2.ToDtype(torch.float32)])
    found = placement(flip, (64, 96))
    assert (found.left, found.right) == (96, 0)
    grid = np.zeros((32, 32))
    grid[:, 0] = 1
    assert found.onto_image(grid)[:, 95].min() > 0.5 > found.onto_image(grid)[:, 0].max()


@pytest.mark.parametrize("change", [lambda x: x.float() ** 3, lambda x: x.float() * 0, lambda x: x.float().mT])
def test_what_is_no_straight_line_is_refused(change):
    bent = v2.Compose([v2.Resize((32, 32)), v2.ToImage(), v2.Lambda(change)])
    with pytest.raises(ValueError, match=r"pixels made by it lie in the image cannot be found.*Give pixel_values"):
        placement(bent, (50, 60))


@pytest.mark.parametrize("grid", [(7, 7), (8, 5), (40, 60), (90, 31)])
def test_maps_are_resized_as_torch_resizes(grid):
    values = np.random.default_rng(0).random(grid)
    ours = Placement.whole((30, 45)).onto_image(values)
    theirs = F.interpolate(torch.tensor(values)[None, None], (30, 45), mode="bilinear", antialias=True)[0, 0]
    assert np.abs(ours - theirs.numpy()).max() < 1e-12
    assert Placement.whole(grid).onto_image(values) is values


def test_outside_of_what_is_seen_the_map_is_zero():
    found = Placement((10, 20), 2.0, 8.0, 5.0, 15.0)
    placed = found.onto_image(np.ones((3, 5)))
    assert found.seen == (2, 8, 5, 15)
    inside = np.zeros((10, 20))
    inside[2:8, 5:15] = 1
    assert np.abs(placed - inside).max() < 1e-12
    assert found.part((0.5, 0.2)) == Placement((10, 20), 2.0, 5.0, 5.0, 7.0)
    assert found.scaled((5, 40)) == Placement((5, 40), 1.0, 4.0, 10.0, 30.0)


@pytest.mark.parametrize(
    ("processor", "size", "scale", "cut"),
    [(RESIZE, (60, 90), (60 / 32, 90 / 48), (0, 0)), (CROP, (60, 90), (60 / 36, 90 / 54), (2, 11))],
)
@pytest.mark.parametrize("pixel", [(5, 9), (16, 16), (30, 28)])
def test_one_pixel_of_the_model_is_found_in_the_image(processor, size, scale, cut, pixel):
    (found,) = explain(OnePixel(*pixel), photo(*size), processor, attribution=InputXGradient(), target=0)
    assert (found.raw != 0).sum() == 1
    assert found.map.shape == size
    weight = np.abs(found.map) / np.abs(found.map).sum()
    center = (weight * np.arange(size[0])[:, None]).sum(), (weight * np.arange(size[1])).sum()
    expected = [(p + c + 0.5) * s - 0.5 for p, c, s in zip(pixel, cut, scale, strict=True)]
    assert np.abs(np.subtract(center, expected)).max() < 0.5
    if processor is CROP:
        assert found.seen == (3, 57, 18, 72)
        assert not np.delete(found.map, slice(18, 72), axis=1).any()


def test_images_of_different_sizes_keep_their_own():
    found = explain(OnePixel(4, 4), [photo(20, 30), photo(50, 25), photo(20, 30)], RESIZE, attribution="InputXGradient")
    assert [one.map.shape for one in found] == [(20, 30), (50, 25), (20, 30)]
    assert isinstance(found.maps, list)
    assert found[0::2].maps.shape == (2, 20, 30)
