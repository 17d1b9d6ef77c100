"""Images and boxes at 224x224, as arXiv 2303.11932 trains and measures on them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image, ImageOps

from hf_guidance.data.boxes import resize_boxes

__all__ = ["PREPARATIONS", "SIDE", "prepared_boxes", "prepared_row"]

SIDE = 224
PREPARATIONS = ("as_is", "model_guidance")
"""What builders offer: the images as they are, or those of this module."""
VANISHED = "box of no pixel at 224x224, its class kept"


def prepared_boxes(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> list[list[float] | None]:
    """Boxes of an image at 224x224: ``int(min(max(v * 224 / size, 0), 223))`` for every coordinate.

    Args:
        boxes: xyxy in pixels of the image, as the annotation file has them (VOC's count from 1, and stay so).
        size: (width, height) of the image.

    Returns:
        xyxy, 0-based and half-open, or None for a box that is left without a pixel. The last row and column are never
        inside, as in the released code.

    Note:
        The released script multiplies by the ratio 224 / size, rounded before: of all whole coordinates in images of 100 to
        640 pixels, 66 of 200711 then end one pixel lower.

    Example:
        >>> prepared_boxes([[1, 1, 144, 109], [7, 7, 8, 9]], (500, 375))
        [[0.0, 0.0, 64.0, 65.0], None]
    """
    resized = resize_boxes([list(map(float, box)) for box in boxes], size[::-1], (SIDE, SIDE)).tolist()
    return [[*map(float, box)] if box[0] < box[2] and box[1] < box[3] else None for box in resized]


def prepared_row(
    row: Mapping[str, Any], size: tuple[int, int], count: Callable[[str, str], Any], offset: float = 0
) -> dict[str, Any]:
    """A row of annotated images at 224x224: the aspect ratio is not kept, the image resized bilinearly by PIL.

    Labels stay, also those of boxes that are left without a pixel.

    Args:
        row: With ``image`` a path, ``objects``, and perhaps ``mask`` a PIL image, which is resized to the nearest pixel.
        size: (width, height) of the image.
        count: Called as ``count(reason, item)`` for every box that is left without a pixel.
        offset: Added to xmin and ymin: 1 gives back what VOC's files say, which is what the released code resizes.

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
    with Image.open(path) as image:
        resized = ImageOps.exif_transpose(image).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    resized.save(buffer, "PNG", compress_level=1)  # without loss: these are the pixels that are trained on
    return {"path": None, "bytes": buffer.getvalue()}
