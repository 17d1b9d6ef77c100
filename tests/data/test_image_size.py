"""The size of images that are not decoded: from the head of the file, and unknown where that cannot be read."""

import io

import numpy as np
import pytest
from PIL import Image

from hf_guidance.data.image_size import image_size


def stored(kind, **options):
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, kind, **options)
    return content.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


PNG = stored("PNG")
PIXELS = PNG.index(b"IDAT")


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ({"bytes": PNG}, (30, 40)), ({"bytes": PNG[: PIXELS + 8]}, (30, 40)),  # the pixels are not read
        ({"bytes": stored("PNG", exif=turned())}, (40, 30)), ({"bytes": stored("JPEG", exif=turned())}, (40, 30)),
        ({"bytes": PNG[:20]}, None), ({"bytes": PNG[:PIXELS] + b"\0" * 8}, None), ({"bytes": b""}, None),
        ({"bytes": PNG[:16] + b"\0\1\0\0" * 2 + PNG[24:]}, None),
        (np.zeros((30, 40)).tolist(), (30, 40)), (np.zeros((3, 30, 40)).tolist(), (30, 40)),
        ([[1, 2], [3]], (2, 2)), ([], None),
    ],
)  # fmt: skip
def test_sizes(image, size):
    assert image_size(image) == size
