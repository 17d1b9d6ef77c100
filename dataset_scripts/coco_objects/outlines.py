"""Outlines of COCO: polygons and RLE as pycocotools draws them, and one class mask of many outlines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hf_guidance.dataset_scripts.coco_objects.entries import is_numbers
from PIL import Image
from pycocotools import mask as coco

from hf_guidance.data.builder_base import InvalidAnnotation

FAR = 100  # times the image's size: pycocotools walks along every edge, whatever its length


def rasterise(segmentation: Any, size: tuple[int, int], item: str) -> np.ndarray:
    """Polygons or RLE -> (height, width) booleans, exactly as pycocotools draws them."""
    width, height = size
    if isinstance(segmentation, dict):
        check_rle(segmentation, size, item)
        compressed = not isinstance(segmentation["counts"], list)
        rle = segmentation if compressed else coco.frPyObjects(segmentation, height, width)
    else:
        for polygon in segmentation if isinstance(segmentation, list) else [segmentation]:
            # pycocotools takes four numbers for a box and crashes on two
            pairs = is_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0
            near = pairs and all(abs(value) <= FAR * max(size) for value in polygon)  # NaN and infinity are not near
            if not near:
                message = (
                    f"polygon {polygon}; allowed: a list of x, y of at least three points, finite and near the image."
                )
                raise InvalidAnnotation("malformed polygon", item, message)
        rle = coco.merge(coco.frPyObjects(segmentation, height, width))
    return np.asarray(coco.decode(rle), dtype=bool)


def check_rle(rle: dict[str, Any], size: tuple[int, int], item: str) -> None:
    """Check that an RLE has the size of its image and covers all of its pixels; else pycocotools draws garbage."""
    width, height = size
    if rle.get("size") != [height, width]:
        message = f"the RLE is for (height, width) {rle.get('size')}, the image is {[height, width]}."
        raise InvalidAnnotation("size of mask and image differ", item, message)
    counts = rle.get("counts")
    text = isinstance(counts, str | bytes)
    runs = decompress(counts) if text else counts if is_numbers(counts) else []
    if sum(runs) != width * height or min(runs) < 0 or any(run % 1 for run in runs):
        message = f"its counts are not whole numbers that add up to {width * height} pixels."
        raise InvalidAnnotation("malformed RLE", item, message)


def decompress(text: str | bytes) -> list[int]:
    """Run lengths of a compressed RLE: 5-bit digits, lowest first; from the fourth run on relative to the one two before."""
    runs, value, shift = [], 0, 0
    for byte in text.encode() if isinstance(text, str) else text:
        digit = byte - 48
        value, shift = value | (digit & 31) << shift, shift + 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def paint(masks: Sequence[np.ndarray], categories: Sequence[int], size: tuple[int, int]) -> Image.Image:
    """One class mask (see hf_guidance.data.images.rows): the smaller object lies on top."""
    canvas = np.zeros(size[::-1], dtype=np.uint8)
    for index in sorted(range(len(masks)), key=lambda index: -int(masks[index].sum())):
        canvas[masks[index]] = categories[index] + 1
    return Image.fromarray(canvas)
