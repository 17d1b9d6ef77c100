"""What a processor may do to a picture, and what is refused: chance moves maps to other places."""

import random

import numpy as np
import pytest
import torch
from nets import Linear, OnePixel, photo
from PIL import Image
from torchvision.transforms import v2

from hf_guidance import explain
from hf_guidance.attributions import InputXGradient

TO_TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
MODEL = Linear(torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0)))


class OwnGenerator:
    """Flips by a generator that no global state shows, as other libraries have them."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __call__(self, picture):
        flipped = self.generator.random() < 0.5
        pixels = torch.as_tensor(np.array(picture)).movedim(-1, 0).float() / 255
        return pixels.flip(-1) if flipped else pixels


def rolled(picture):
    shift = random.randrange(3)
    return torch.as_tensor(np.roll(np.array(picture), shift, 1)).movedim(-1, 0).float() / 255


def numpy_noise(picture):
    pixels = np.array(picture) / 255 + np.random.normal(0, 1e-3, (12, 16, 3))  # noqa: NPY002
    return torch.as_tensor(pixels).movedim(-1, 0).float()


@pytest.mark.parametrize(
    "processor",
    [
        v2.Compose([v2.RandomHorizontalFlip(), *TO_TENSOR]),
        v2.Compose([v2.RandomResizedCrop((12, 16)), *TO_TENSOR]),
        v2.Compose([v2.ColorJitter(brightness=0.1), *TO_TENSOR]),
        rolled,
        numpy_noise,
        OwnGenerator(),
    ],
    ids=["flip", "crop", "colour", "python", "numpy", "own"],
)
def test_a_processor_that_draws_is_refused_and_the_generators_stay(processor):
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    with pytest.raises(ValueError, match=r"other pixels of the same picture.*processor of evaluation"):
        explain(MODEL, [photo(12, 16)], processor)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002


def test_a_flat_first_picture_or_one_of_the_size_of_the_crop_hides_nothing():
    flat = Image.new("RGB", (16, 12), "grey")
    with pytest.raises(ValueError, match="other pixels of the same picture"):
        explain(MODEL, [flat, photo(12, 16)], v2.Compose([v2.RandomHorizontalFlip(), *TO_TENSOR]))
    with pytest.raises(ValueError, match="other pixels of the same picture"):
        explain(MODEL, [photo(12, 16), photo(20, 30)], v2.Compose([v2.RandomCrop((12, 16)), *TO_TENSOR]))


@pytest.mark.parametrize("seed", range(4))
def test_what_seldom_draws_something_else_does_the_same_to_all_pictures(seed):
    torch.manual_seed(seed)
    flips = v2.Compose([v2.RandomHorizontalFlip(p=1e-3), *TO_TENSOR])
    pictures = [photo(12, 16, seed=index) for index in range(40)]
    found = explain(OnePixel(2, 2), pictures, flips, attribution=InputXGradient(), target=0)
    assert {int(np.abs(one.map).sum(0).argmax()) for one in found} == {2}


def test_a_processor_may_change_the_picture_that_it_gets():
    picture = photo(12, 16)
    kept = np.array(picture)

    def shrinks(given):
        given.thumbnail((8, 6))
        return v2.Compose(TO_TENSOR)(given)

    found = explain(OnePixel(2, 2), picture, shrinks, attribution=InputXGradient(), target=0)
    assert found[0].map.shape == (12, 16)
    assert np.array_equal(np.array(picture), kept)


@pytest.mark.parametrize("fill", [0, 128, 255])
def test_padding_of_any_level_lies_outside_of_the_image(fill):
    pad = v2.Compose([v2.Resize((30, 20)), v2.Pad((5, 10, 15, 0), fill=fill), *TO_TENSOR])
    found = explain(OnePixel(25, 15), photo(60, 40), pad, attribution=InputXGradient(), target=0)[0]
    placement = found.placement
    edges = [placement.top, placement.bottom, placement.left, placement.right]
    assert np.abs(np.array(edges) - [-20, 60, -10, 70]).max() < 0.3
    row, column = np.unravel_index(np.abs(found.map).argmax(), found.map.shape)
    assert abs(row - 30.5) <= 1.5  # pixel 25 less 10 of padding, twice as large
    assert abs(column - 20.5) <= 1.5
