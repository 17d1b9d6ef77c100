"""The picture of a row over which the values of its boxes are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hf_guidance.data.images.photo import photo

_CANVAS = (160, 160)  # pixels of a row without image
_FRAME = (190, 190, 190)


def row_picture(
    row: Mapping[str, Any], boxes: npt.ArrayLike, name: str, longest: int = 320
) -> npt.NDArray[np.floating]:
    """The image of a row; where it has none, its boxes as grey frames on a white square.

    Args:
        row: With a column "image", or without.
        boxes: (objects, 4) xyxy in [0, 1].
        name: Names the row in errors.
        longest: Pixels of the longer side at most; larger images are made smaller.

    Returns:
        (height, width, 3) in [0, 1].

    Raises:
        ValueError: The image cannot be read.
    """
    if row.get("image") is not None:
        picture = photo(row, name)
        picture.thumbnail((longest, longest))
    else:
        picture = Image.new("RGB", _CANVAS, "white")
        draw, (width, height) = ImageDraw.Draw(picture), _CANVAS
        for left, top, right, bottom in np.asarray(boxes, float).reshape(-1, 4):
            corners = (
                left * width,
                top * height,
                max(right * width - 1, left * width),
                max(bottom * height - 1, top * height),
            )
            draw.rectangle(corners, outline=_FRAME, width=2)
    return np.asarray(picture, float) / 255
