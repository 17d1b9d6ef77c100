"""A row whose image is prepared once, at the size of training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from hf_guidance.data.boxes import resize_boxes


def prepared(row: Mapping[str, Any], processor: Any, size: int) -> dict[str, Any]:
    """Prepare the image, boxes and mask of a row as the paper does: the aspect is not kept, and boxes are truncated.

    Args:
        row: With "image", "image_id", "labels", "objects" (boxes as x0, y0, x1, y1 in pixels) and perhaps "mask".
        processor: The image processor of the model.
        size: Height and width after preparation, in pixels.

    Returns:
        The row with "pixel_values" (channels, size, size) instead of "image", boxes in pixels of that size without those
        that truncation left empty, and "mask" (size, size) where the row has one.
    """
    image = row["image"].convert("RGB")
    boxes = resize_boxes([o["bbox"] for o in row["objects"]], (image.height, image.width), (size, size)).tolist()
    objects = [
        {"bbox": box, "category": o["category"]}
        for box, o in zip(boxes, row["objects"], strict=True)
        if box[2] > box[0] and box[3] > box[1]
    ]
    pixels = processor(images=[image], return_tensors="pt")["pixel_values"][0]
    found = {"pixel_values": pixels, "image_id": row["image_id"], "labels": row["labels"], "objects": objects}
    if row.get("mask") is not None:
        found["mask"] = np.asarray(row["mask"].resize((size, size), Image.Resampling.NEAREST))
    return found
