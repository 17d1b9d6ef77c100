"""What explain takes for an image, and what it refuses."""

import io

import numpy as np
import pytest
import torch
from nets import Linear, photo
from PIL import Image
from transformers import ViTImageProcessor

from hf_guidance import explain
from hf_guidance.evaluation.explaining.given import given_images

PROCESSOR = ViTImageProcessor(size={"height": 8, "width": 8})
MODEL = Linear(torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def maps(images, **options):
    return explain(MODEL, images, PROCESSOR, attribution="InputXGradient", target=1, **options)


def read(image):
    (given,), _ = given_images(image)
    return np.asarray(given.read())


@pytest.fixture
def picture():
    return photo(12, 17)


def test_every_kind_of_image_gives_the_same_map(tmp_path, picture):
    array = np.asarray(picture)
    picture.save(tmp_path / "a.png")
    kinds = [picture, str(tmp_path / "a.png"), tmp_path / "a.png", array, torch.tensor(array).movedim(-1, 0)]
    expected = maps(picture)[0].map
    for kind in kinds:
        assert np.array_equal(maps(kind)[0].map, expected)
    for found in (maps(kinds), maps(tuple(kinds)), maps(iter(kinds))):
        assert np.array_equal(found.maps, np.stack([expected] * 5))
    assert [one.index for one in maps(kinds)] == [0, 1, 2, 3, 4]
    assert maps(kinds)[1].name == str(tmp_path / "a.png")
    assert np.array_equal(maps(np.stack([array, array]))[1].map, expected)


def test_a_column_of_a_dataset(picture):
    from datasets import Dataset

    rows = Dataset.from_dict({"image": [picture, picture]})
    assert len(maps(rows["image"])) == 2


def test_grey_alpha_cmyk_palette_and_sixteen_bit(picture):
    rgb = np.asarray(picture)
    assert np.array_equal(read(picture.convert("RGBA")), rgb)
    assert np.array_equal(read(np.dstack([rgb, rgb[..., 0]])), rgb)
    grey = picture.convert("L")
    for kind in (grey, np.asarray(grey), np.asarray(grey)[..., None], torch.tensor(np.asarray(grey))[None]):
        assert np.array_equal(read(kind), np.asarray(grey.convert("RGB")))
    assert read(picture.convert("CMYK")).shape == read(picture.convert("P")).shape == rgb.shape
    sixteen = np.asarray(grey).astype(np.uint16) * 257
    assert np.array_equal(read(sixteen), np.asarray(grey.convert("RGB")))
    assert np.array_equal(read(np.eye(4, dtype=bool)), np.repeat(255 * np.eye(4, dtype=np.uint8)[..., None], 3, -1))


def test_exif_is_applied(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert maps(tmp_path / "turned.jpg")[0].map.shape == (17, 12)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((5, 5, 3)), r"image 0 holds float64.*uint8"),
        (np.zeros((5, 5, 3), np.uint16), r"image 0 holds uint16"),
        (np.zeros((3, 50, 50), np.uint8), r"image 0 is an array of shape \(3, 50, 50\).*moveaxis"),
        (torch.zeros(50, 50, 3, dtype=torch.uint8), r"image 0 is a tensor of shape \(50, 50, 3\).*movedim"),
        (torch.zeros(3, 5, 5), r"image 0 holds float32"),
        (np.zeros((0, 5), np.uint8), r"image 0 is an array of shape \(0, 5\)"),
        (Image.new("F", (4, 4)), r"image 0: the image cannot be read: it holds floats"),
        (Image.new("I", (4, 4)), r"image 0: the image cannot be read: it holds integers of 32 bit"),
        ([], "images is empty"),
        ({}, "images is a dict"),
        (3, "images is a int"),
        ([3], "image 0 is a int"),
        ([None], "image 0 is a NoneType"),
    ],
)
def test_other_things_are_refused(value, message):
    with pytest.raises(ValueError, match=message) as raised:
        maps(value)
    assert "invalid='skip'" not in str(raised.value)


def test_files_are_looked_at_before_the_work_begins(tmp_path, picture, monkeypatch):
    good, text = tmp_path / "good.png", tmp_path / "notes.png"
    picture.save(good)
    text.write_text("no image")
    monkeypatch.setattr(type(MODEL), "forward", None)  # would fail where it is called
    for wrong, message in (
        (text, r"notes\.png is no image"),
        (tmp_path / "absent.png", r"absent\.png is no file"),
        (tmp_path, "It is a folder"),
        ("https://host/cat.jpg", "Addresses are not fetched"),
    ):
        with pytest.raises(ValueError, match=message):
            maps([good, wrong])


def test_a_file_that_is_cut_off_is_named(tmp_path, picture):
    picture.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut\.png: the image cannot be read"):
        maps(tmp_path / "cut.png")


@pytest.mark.parametrize("times", [1.5, 3])
def test_decompression_bombs_are_refused(tmp_path, monkeypatch, times):
    side = 100
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    assert maps(tmp_path / "bomb.png")[0].map.shape == (side, side)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(side * side / times))
    limit = f"MAX_IMAGE_PIXELS = {int(side * side / times)}"
    with pytest.raises(ValueError, match=rf"bomb\.png has more pixels than PIL\.Image\.{limit}"):
        maps(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=rf"image 0 has more pixels than PIL\.Image\.{limit}"):
        maps(Image.new("RGB", (side, side)))
    with pytest.raises(ValueError, match=rf"image 0 has more pixels than PIL\.Image\.{limit}"):
        maps(np.zeros((side, side, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert len(maps(tmp_path / "bomb.png")) == 1


def test_a_real_bomb_is_not_unpacked(tmp_path):
    """12 KB that unpack to 100 million pixels."""
    file = tmp_path / "bomb.png"
    stream = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(stream, "PNG", compress_level=9)
    file.write_bytes(stream.getvalue())
    assert file.stat().st_size < 20_000
    with pytest.raises(ValueError, match="fill the memory"):
        maps(file)


def test_pixels_without_a_processor():
    pixels = torch.randn(2, 3, 8, 8)
    found = explain(MODEL, pixels, attribution="InputXGradient", target=0)
    assert found.maps.shape == (2, 8, 8)
    assert np.array_equal(explain(MODEL, list(pixels), attribution="InputXGradient", target=0).maps, found.maps)
    assert len(explain(MODEL, pixels[0], attribution="InputXGradient")) == 1
    assert found[0].image.shown().size == (8, 8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"image 0 is a tensor of torch.uint8"),
        (photo(5, 5), r"images is a RgbImage|images is a Image.*AutoImageProcessor"),
        ("cat.jpg", r"images is a str and processor is None"),
        ([photo(5, 5)], "images is a list and processor is None"),
        (torch.zeros(0, 3, 8, 8), "images is empty"),
        (torch.zeros(8, 8), "images is a Tensor"),
    ],
)
def test_without_a_processor_only_pixels(value, message):
    with pytest.raises(ValueError, match=message):
        explain(MODEL, value)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (3, "processor is a int"),
        (lambda picture: {"other": 1}, "made dict without 'pixel_values'"),
        (lambda p: 1, "made int"),
    ],
)
def test_processors_that_make_no_pixels(processor, message):
    with pytest.raises(ValueError, match=message):
        explain(MODEL, photo(5, 5), processor)


def test_collections_that_are_no_lists(picture):
    pictures = {"a": picture, "b": picture}
    assert len(maps(pictures.values())) == 2
    with pytest.raises(ValueError, match=r"images is a set, which has no order"):
        maps({"a.png", "b.png"})
    with pytest.raises(ValueError, match=r"image 0 has no pixels: its size is \(0, 5\)"):
        maps([Image.new("RGB", (0, 5))])
    with pytest.raises(ValueError, match=r"images is a bytes"):
        maps(b"a.png")
