"""Pictures of every mode, dtype and orientation: their own range, or a refusal by name; in files as in rows."""

import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import class_numbers, dark, grey_levels, open_picture, rgb, verify_image

RAMP = np.linspace(0, 1, 48 * 64).reshape(48, 64)
SAME = ViTImageProcessor(size={"height": 48, "width": 64}, do_normalize=False)


def saved(image, kind, tmp_path, **options):
    path = tmp_path / f"a.{kind}"
    if kind == "pgm":  # Pillow before 11 reads 16 bits, but does not write them
        path.write_bytes(b"P5\n%d %d\n65535\n" % image.size + np.asarray(image).astype(">u2").tobytes())
    else:
        image.save(path, **options)
    return path


def grey(bits, order="<"):
    return Image.fromarray(np.round(RAMP * (2**bits - 1)).astype(f"{order}u{bits // 8}"))


def turned():
    """A picture and the file that stores it turned, to be turned back by EXIF orientation 6."""
    pixels = np.round(RAMP * 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    buffer = io.BytesIO()
    raw.save(buffer, "PNG", exif=exif)
    return pixels, buffer.getvalue()


@pytest.mark.parametrize(
    "image",
    [grey(16), grey(16, ">"), grey(8), grey(8).convert("RGB"), grey(8).convert("LA"), grey(8).convert("RGBA"),
     grey(8).convert("P"), grey(16).copy()],
    ids=["16", "16 big-endian", "8", "RGB", "LA", "RGBA", "grey palette", "copy"],
)  # fmt: skip
def test_grey_photos_and_maps_keep_their_range(image):
    assert np.abs(np.asarray(rgb(image, "a"), np.float64) / 255 - RAMP[..., None]).max() < 0.003
    levels = grey_levels(image, "a")
    assert levels.shape == (48, 64)
    assert np.abs(levels - RAMP).max() < 0.003
    row = {"image": image, "image_id": "a", "labels": [0], "importance": image}
    batch = GuidanceCollator(SAME, num_labels=1)([row])
    assert np.abs(batch["pixel_values"][0, 0].numpy() - RAMP).max() < 0.003
    assert np.abs(batch["importance"][0].numpy() - RAMP).max() < 0.003


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
@pytest.mark.parametrize("read", ["file", "datasets"])
def test_files_of_16_bit_keep_their_range(kind, read, tmp_path):
    path = saved(grey(16), kind, tmp_path)
    image = (
        open_picture(path) if read == "file" else datasets.Image().decode_example({"path": str(path), "bytes": None})
    )
    assert verify_image(path) == (64, 48)
    assert np.abs(np.asarray(rgb(image, "a"))[..., 1] / 255 - RAMP).max() < 0.003
    assert np.abs(grey_levels(image, "a") - RAMP).max() < 1e-4


def test_truth_values_and_floats_are_levels_as_they_are():
    inside = RAMP > 0.5
    assert np.array_equal(grey_levels(Image.fromarray(inside), "a"), inside)
    assert np.array_equal(grey_levels(Image.fromarray(RAMP.astype(np.float32)), "a"), RAMP.astype(np.float32))


HEAT = Image.fromarray((255 * np.stack([RAMP, 1 - RAMP, RAMP], -1)).astype(np.uint8))
CLEAR = grey(8).convert("LA")
CLEAR.putpixel((3, 3), (9, 0))
REFUSED = {
    "heat map": (HEAT, r"colours \(mode 'RGB'\), where one channel is meant"),
    "with alpha": (HEAT.convert("RGBA"), "where one channel is meant"),
    "transparent": (CLEAR, "transparent pixels, where one channel is meant"),
    "CMYK": (HEAT.convert("CMYK"), "mode 'CMYK', where one channel is meant"),
    "HSV": (HEAT.convert("HSV"), "mode 'HSV', where one channel is meant"),
    "palette": (HEAT.quantize(16), "a palette of colours, where one channel is meant"),
    "floats to 255": (Image.fromarray((RAMP * 255).astype(np.float32)), "floats from 0 to 255; allowed: 0 to 1"),
    "NaN": (Image.fromarray(np.full((48, 64), np.nan, np.float32)), "floats from nan"),
    "32 bit": (Image.fromarray((RAMP * 1000).astype(np.int32)), r"integers of 32 bit \(mode 'I'\) without a declared"),
    "no pixel": (Image.new("L", (0, 0)), "it is 0x0 and has no pixel"),
    "8 of 16 bit": (
        Image.fromarray(np.round(RAMP * 255).astype(np.uint16)),
        "its largest value is 255, of 65535 or of",
    ),
    "ones of 16 bit": (Image.fromarray((RAMP > 0.5).astype(np.uint16)), "its largest value is 1, of 65535 or of 1"),
    "ones": (Image.fromarray((RAMP > 0.5).astype(np.uint8)), "its largest value is 1, of 255 or of 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_maps_that_are_not_one_channel_of_a_known_range_are_refused(case):
    image, message = REFUSED[case]
    with pytest.raises(InvalidAnnotation, match=message):
        grey_levels(image, "a.png")
    row = {"image": grey(8), "image_id": "a", "labels": [0], "importance": image}
    with pytest.raises(ValueError, match=rf"image_id 'a'\): importance cannot be read: .*{message}") as error:
        GuidanceCollator(SAME, num_labels=1)([row])
    assert "invalid=" not in str(error.value)


def levels(largest, kind=np.uint16):
    return Image.fromarray(np.round(RAMP * largest).astype(kind))


@pytest.mark.parametrize("largest", [1, 3, 198, 255])
@pytest.mark.parametrize("read", ["file", "row"])
def test_photos_of_8_bit_in_16_are_refused(largest, read, tmp_path):
    message = f"it has 16 bit, but its largest value is {largest}, so it would be black"
    if read == "file":
        with pytest.raises(InvalidAnnotation, match=message):
            verify_image(saved(levels(largest), "png", tmp_path))
    else:
        with pytest.raises(ValueError, match=rf"image_id 'a'.*cannot be read: {message}"):
            GuidanceCollator(SAME, num_labels=1)([{"image": levels(largest), "image_id": "a", "labels": [0]}])


@pytest.mark.parametrize("read", [rgb, grey_levels])
def test_dark_pictures_of_16_bit_are_used_and_said_once(read, caplog):
    """12 bit in 16, or a photo of the night."""
    dark.clear()
    for _ in range(2):
        values = np.asarray(read(levels(4000), "night"), np.float64)
    assert values.max() == pytest.approx({rgb: 16, grey_levels: 4000 / 65535}[read])
    assert sum(dark.values()) == 2
    assert (
        caplog.text.count("no value above 4095 of 65535, as 12 bit in 16 have it (then scale it up), first in night")
        == 1
    )
    read(levels(5000), "day")
    assert "day" not in caplog.text


@pytest.mark.parametrize("largest", [2, 3, 4])
def test_importance_next_to_nothing_may_be_classes(largest):
    """A map whose size does not matter may be that faint."""
    row = {"image": grey(8), "image_id": "a", "labels": [0], "importance": levels(largest, np.uint8)}
    assert grey_levels(row["importance"], "a").max() == largest / 255
    if largest == 4:
        assert GuidanceCollator(SAME, num_labels=1)([row])["importance"].max() == pytest.approx(4 / 255)
        return
    with pytest.raises(ValueError, match=f"its largest value is {largest}, of 255 or of {largest}.*column 'mask'"):
        GuidanceCollator(SAME, num_labels=1)([row])


def test_pictures_of_one_dark_value_are_used():
    for value in (0, 60):
        assert np.asarray(rgb(Image.fromarray(np.full((4, 4), value, np.uint16)), "a")).max() == 0
    assert grey_levels(Image.fromarray(np.zeros((4, 4), np.uint16)), "a").max() == 0


@pytest.mark.parametrize("mode", ["I", "F"])
@pytest.mark.parametrize("kind", [".tif", "row"])
def test_photos_without_a_declared_range_are_refused(mode, kind, tmp_path):
    image = Image.fromarray((RAMP * 1000).astype(np.int32 if mode == "I" else np.float32))
    message = rf"\(mode '{mode}'\) without a declared range; scale them and save 8 or 16 bit"
    if kind == "row":
        with pytest.raises(ValueError, match=rf"image_id 'a'.*{message}"):
            GuidanceCollator(SAME, num_labels=1)([{"image": image, "image_id": "a", "labels": [0]}])
    else:
        with pytest.raises(InvalidAnnotation, match=rf"a\.tif: .*{message}"):
            verify_image(saved(image, "tif", tmp_path))


@pytest.mark.parametrize("kind", ["gif", "tif", "webp", "png"])
def test_pictures_of_several_frames_are_refused(kind, tmp_path):
    other = Image.new("RGB", (64, 48), "red")
    path = saved(grey(8).convert("RGB"), kind, tmp_path, save_all=True, append_images=[other])
    for read in (verify_image, open_picture):
        with pytest.raises(InvalidAnnotation, match=rf"a\.{kind}: the file holds 2 frames"):
            read(path)
    row = {"image": Image.open(path), "image_id": "a", "labels": [0]}
    with pytest.raises(ValueError, match=r"image_id 'a'.*holds 2 frames"):
        GuidanceCollator(SAME, num_labels=1)([row])


def test_the_photo_of_a_camera_with_previews_is_its_first_frame(tmp_path):
    photo = Image.new("RGB", (64, 48), "red")
    path = saved(photo, "mpo", tmp_path, save_all=True, append_images=[Image.new("RGB", (8, 6))])
    assert verify_image(path) == (64, 48)
    assert rgb(open_picture(path), "a").getpixel((1, 1))[0] > 250


@pytest.mark.parametrize("kind", ["photo", "map", "mask", "importance", "datasets"])
def test_exif_turns_whatever_is_read(kind, tmp_path):
    pixels, content = turned()
    raw = Image.open(io.BytesIO(content))
    assert raw.size == (48, 64)
    row = {"image": raw, "image_id": "a", "labels": [0], "objects": [{"bbox": [0, 0, 64, 4], "category": 0}]}
    if kind == "photo":
        assert np.array_equal(np.asarray(rgb(raw, "a"))[..., 0], pixels)
    elif kind == "map":
        assert np.array_equal(grey_levels(raw, "a") * 255, pixels)
    elif kind == "mask":
        assert np.array_equal(class_numbers(raw, "a"), pixels)
    elif kind == "importance":
        batch = GuidanceCollator(SAME, num_labels=1)([row | {"importance": raw}])
        assert torch.allclose(batch["importance"][0], batch["pixel_values"][0, 0], atol=1e-6)
    else:  # the same image, whether datasets opened it or the user
        decoded = datasets.Image().decode_example({"path": None, "bytes": content})
        ours, theirs = (GuidanceCollator(SAME, num_labels=1)([row | {"image": image}]) for image in (raw, decoded))
        assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
        assert torch.equal(ours["importance"], theirs["importance"])
        assert ours["importance"][0, :4].all()


def palette(image, colours):
    image = image.copy()
    image.putpalette([value for colour in colours for value in colour])
    return image


NUMBERS = Image.fromarray((RAMP > 0.5).astype(np.uint8))


def test_masks_of_palettes_are_the_indices_where_nothing_else_may_be_meant():
    voc = palette(NUMBERS, [(0, 0, 0), (128, 0, 0)])
    ramp = palette(NUMBERS, [(value, value, value) for value in range(256)])
    for image in (voc, ramp, NUMBERS, NUMBERS.convert("RGB"), Image.fromarray(np.asarray(NUMBERS, np.uint16))):
        assert np.array_equal(class_numbers(image, "a"), np.asarray(NUMBERS))
        row = {"image": grey(8), "image_id": "a", "labels": [0], "mask": image}
        assert GuidanceCollator(SAME, num_labels=1)([row])["importance"].sum() == 48 * 32
    white = palette(NUMBERS, [(0, 0, 0), (255, 255, 255)])  # as GIF stores a mask of black and white
    assert np.array_equal(grey_levels(white, "a"), np.asarray(NUMBERS))
    with pytest.raises(
        ValueError, match=r"mask cannot be read: its palette shows index 1 as grey 255, and either may be"
    ):
        GuidanceCollator(SAME, num_labels=1)([{"image": grey(8), "image_id": "a", "labels": [0], "mask": white}])
    with pytest.raises(ValueError, match="mask cannot be read: it has colours"):
        GuidanceCollator(SAME, num_labels=1)([{"image": grey(8), "image_id": "a", "labels": [0], "mask": HEAT}])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_beyond_one_are_refused_with_their_own_range(dtype):
    values = np.full((48, 64), np.iinfo(dtype).max, dtype)
    with pytest.raises(ValueError, match=rf"importance in \[0, {np.iinfo(dtype).max}\].*by {np.iinfo(dtype).max}\?"):
        GuidanceCollator(SAME, num_labels=1)([{"image": grey(8), "image_id": "a", "labels": [0], "importance": values}])
