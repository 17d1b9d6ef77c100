"""People see what the model sees: pictures are cut as its processor crops them, and patches lie where they are."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from hf_guidance.apps.annotation import AnnotationFolder, write_annotation_folder, write_patch_folder
from hf_guidance.apps.annotation.items.as_seen import AsSeen


def picture(width=100, height=60):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def cropped(image):
    """The middle square, 32 x 32."""
    return tensor(ImageOps.fit(image, (32, 32)))


def tensor(image):
    return torch.from_numpy(np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1).copy()) / 255


def mirrored(image):
    return tensor(ImageOps.mirror(image.resize((32, 32))))


def test_a_picture_is_cut_as_the_processor_crops():
    seen = AsSeen(cropped).picture(picture())
    assert seen.size == (60, 60)
    assert np.array_equal(np.asarray(seen), np.asarray(picture())[:, 20:80])
    assert AsSeen().picture(picture()).size == (100, 60)


def test_a_mirrored_picture_is_mirrored():
    assert np.array_equal(np.asarray(AsSeen(mirrored).picture(picture())), np.asarray(picture())[:, ::-1])


def test_padding_is_black():
    wide = AsSeen(lambda image: tensor(ImageOps.pad(image, (32, 32)))).picture(picture(64, 32))
    assert wide.size == (64, 64)
    assert not np.asarray(wide)[:14].any()


def test_boxes_are_in_the_pixels_of_the_picture_that_is_shown(tmp_path):
    patches = [{"image": 0, "row": 1, "col": 0, "box": [0, 16, 16, 32], "channels": [3]}]
    folder = write_patch_folder([{"image": picture()}], patches, tmp_path / "patches", processor=cropped)
    item = AnnotationFolder(folder)[0]
    assert (item.image.size, item.box) == ((60, 60), (0, 30, 30, 60))
    plain = write_patch_folder([{"image": picture()}], patches, tmp_path / "plain")
    assert (AnnotationFolder(plain)[0].image.size, AnnotationFolder(plain)[0].box) == ((100, 60), (0, 16, 16, 32))


def test_maps_lie_on_what_is_shown(tmp_path):
    folder = write_annotation_folder([{"image": picture()}], np.ones((1, 2, 2)), tmp_path / "maps", processor=cropped)
    assert AnnotationFolder(folder)[0].image.size == (60, 60)


def test_a_processor_that_turns_pictures_is_refused():
    with pytest.raises(ValueError, match=r"straight|coordinates"):
        AsSeen(lambda image: tensor(image.resize((32, 32)).rotate(30))).picture(picture())
