"""Images and boxes resized to 224x224, as arXiv 2303.11932 trains and evaluates on them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from hf_guidance.data.boxes import resize_boxes
from hf_guidance.data.images.pictures import open_picture, rgb

__all__ = ["PREPARATIONS", "SIDE", "prepared_boxes", "prepared_row"]

SIDE = 224
PREPARATIONS = ("as_is", "model_guidance")
"""What builders offer: the images as they are, or prepared by this module."""
VANISHED = "box of no pixel at 224x224, its class kept"


def prepared_boxes(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> list[list[float] | None]:
    """Resize the boxes of an image to 224x224: ``int(min(max(v * 224 / size, 0), 223))`` for every coordinate.

    Args:
        boxes: xyxy in pixels of the image, as in the annotation file (VOC's count from 1, which is not changed).
        size: (width, height) of the image.

    Returns:
        xyxy, 0-based and half-open, or None for a box without any pixel left. The last line and column of pixels are never
        inside a box, as in the released code.

    Note:
        The released script multiplies by the ratio 224 / size, which is rounded first: of all whole coordinates in images of
        100 to 640 pixels, 66 of 200711 then end one pixel lower.

    Example:
        >>> prepared_boxes([[1, 1, 144, 109], [7, 7, 8, 9]], (500, 375))
        [[0.0, 0.0, 64.0, 65.0], None]
    """
    resized = resize_boxes([list(map(float, box)) for box in boxes], size[::-1], (SIDE, SIDE)).tolist()
    return [[*map(float, box)] if box[0] < box[2] and box[1] < box[3] else None for box in resized]


def prepared_row(
    row: Mapping[str, Any], size: tuple[int, int], count: Callable[[str, str], Any], offset: float = 0
) -> dict[str, Any]:
    """Resize a row of annotated images to 224x224, bilinearly by PIL, without keeping the aspect ratio.

    Labels stay, also those of boxes without any pixel left.

    Args:
        row: ``image`` is a path; ``mask``, if any, is a PIL image and is resized by nearest neighbour; has ``objects``.
        size: (width, height) of the image.
        count: Called as ``count(reason, item)`` for every box without any pixel left.
        offset: Added to xmin and ymin: 1 restores the numbers of VOC's files, which the released code resizes.

    Returns:
        The row; its image as PNG bytes.
    """
    given = [entry["bbox"] for entry in row["objects"]]
    resized = prepared_boxes([[box[0] + offset, box[1] + offset, box[2], box[3]] for box in given], size)
    objects = []
    for index, (entry, box) in enumerate(zip(row["objects"], resized, strict=True)):
        if box is None:
            count(VANISHED, f"{row['image']}, box {index} ({', '.join(f'{value:g}' for value in given[index])})")
        else:
            objects.append({**entry, "bbox": box})
    prepared = {**row, "image": _prepared_image(row["image"]), "objects": objects}
    if row.get("mask") is not None:
        prepared["mask"] = row["mask"].resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return prepared


def _prepared_image(path: str | os.PathLike[str]) -> dict[str, Any]:
    resized = rgb(open_picture(path), str(path)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    resized.save(buffer, "PNG", compress_level=1)  # PNG is lossless: the model trains on exactly these pixels
    return {"path": None, "bytes": buffer.getvalue()}
