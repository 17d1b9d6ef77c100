"""The human importance of the boxes of one question."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_guidance.data.boxes import box_importance_from_iou, box_importance_from_map
from hf_guidance.data.columns import IMPORTANCE

SOURCES = ("auto", "importance", "reference_boxes", "mask")


def object_importance(
    row: Mapping[str, Any],
    boxes: npt.NDArray[np.float32],
    source: str,
    name: str,
    count: Callable[[str, int, str], None] | None = None,
) -> npt.NDArray[np.float32] | None:
    """Importance of each box of a question.

    Args:
        row: The dataset row.
        boxes: (objects, 4) xyxy in [0, 1].
        source: "importance" (one number per box), "reference_boxes" (best IoU, see `box_importance_from_iou`), "mask"
            (an attention map or a mask, see `box_importance_from_map`), or "auto": the first that the row has.
        name: Names the row in errors.
        count: Called as ``count("map not checked against an image", 1, name)`` for a map whose row has no image (PIL, or
            an array (height, width, ...)) to compare its aspect ratio with.

    Returns:
        (objects,) float32 in [0, 1], or None where the row has no importance.

    Raises:
        ValueError: The chosen column is missing; importance is not one number per box, is NaN or outside [0, 1]; a reference
            box is wrong; a map has several channels, a palette, or not the image's aspect ratio.
    """
    if source == "auto":
        column = next((present for present in SOURCES[1:] if row.get(present) is not None), None)
    elif source not in row:
        raise ValueError(f"{name} has no column {source!r}, which source={source!r} reads; it has {sorted(row)}.")
    else:
        column = source
    if column is None or row[column] is None:
        return None
    if column == IMPORTANCE:
        return _given(row[column], len(boxes), name)
    try:
        if column == "reference_boxes":
            references = torch.as_tensor(np.asarray(row[column], np.float64))
            scores = box_importance_from_iou(torch.as_tensor(boxes), references)
        else:
            size = _image_size(row.get("image"))
            if size is None and count is not None:
                count("map not checked against an image", 1, name)
            pixels = torch.from_numpy(_map(row[column], size))
            scores = box_importance_from_map(pixels, torch.as_tensor(boxes))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}, {column}: {error}") from None
    return scores.numpy().astype(np.float32)


def _given(value: Any, count: int, name: str) -> npt.NDArray[np.float32]:
    scores = np.asarray(value, np.float32)
    if scores.shape != (count,):
        raise ValueError(f"{name}: importance has shape {scores.shape} for {count} boxes; give one number per box.")
    if not ((scores >= 0) & (scores <= 1)).all():  # written so that NaN is refused too
        wrong = scores[~((scores >= 0) & (scores <= 1))][0]
        raise ValueError(f"{name}: importance holds {wrong:g}, allowed is [0, 1]; rescale it.")
    return scores


def _image_size(image: Any) -> tuple[int, int] | None:
    # (height, width), or None where there is no image to read it from.
    if isinstance(image, np.ndarray):
        return (image.shape[0], image.shape[1]) if image.ndim > 1 else None
    size = getattr(image, "size", None)
    return (size[1], size[0]) if isinstance(size, tuple) else None


def _map(value: Any, size: tuple[int, int] | None) -> npt.NDArray[np.float64]:
    if getattr(value, "mode", None) == "P":
        raise ValueError(
            "it is a palette image (mode 'P'), whose pixels are indices of colours; give one channel of values, for example "
            "by `.convert('L')`."
        )
    try:
        pixels = np.asarray(value)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the image cannot be read ({error}); replace the file.") from None
    if pixels.ndim != 2:
        raise ValueError(f"it has shape {pixels.shape}; give one channel, for example by `.convert('L')`.")
    if size is not None:
        height, width = size
        rows, columns = pixels.shape
        # A resized copy may be off by up to one of its pixels, because sizes are whole numbers.
        if abs(columns - rows * width / height) > 1 and abs(rows - columns * height / width) > 1:
            raise ValueError(
                f"the map is {columns}x{rows}, the image {width}x{height}: not the same aspect ratio, so boxes would lie "
                "elsewhere on it. Resize the map to the image."
            )
    return pixels.astype(np.float64)


def question_generator(seed: int, question_id: str, use: int) -> np.random.Generator:
    """A generator that depends only on the seed, the question and the use: the same in every epoch and process."""
    return np.random.default_rng([seed, zlib.crc32(question_id.encode()), use])
