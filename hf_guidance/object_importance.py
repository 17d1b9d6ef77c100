"""The human importance of the boxes of one question."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_guidance.spatial import box_importance_from_iou, box_importance_from_map

SOURCES = ("auto", "importance", "reference_boxes", "mask")


def object_importance(
    row: Mapping[str, Any], boxes: npt.NDArray[np.float32], source: str, name: str
) -> npt.NDArray[np.float32] | None:
    """Importance of each box of a question.

    Args:
        row: The dataset row.
        boxes: (objects, 4) xyxy in [0, 1].
        source: "importance" (one number a box), "reference_boxes" (best IoU, see `spatial.box_importance_from_iou`), "mask"
            (an attention map or a mask, see `spatial.box_importance_from_map`), or "auto": the first that the row has.
        name: Names the row in errors.

    Returns:
        (objects,) float32 in [0, 1], or None where the row has none.

    Raises:
        ValueError: The chosen column is missing; not one number a box, NaN or outside [0, 1]; a wrong reference box; a map
            that is not one channel, or not of the image's aspect ratio.
    """
    if source == "auto":
        column = next((name for name in SOURCES[1:] if row.get(name) is not None), None)
    elif source not in row:
        raise ValueError(f"{name} has no column {source!r}, source={source!r} reads it; it has {sorted(row)}.")
    else:
        column = source
    if column is None or row[column] is None:
        return None
    if column == "importance":
        return _given(row[column], len(boxes), name)
    try:
        if column == "reference_boxes":
            references = torch.as_tensor(np.asarray(row[column], np.float64))
            scores = box_importance_from_iou(torch.as_tensor(boxes), references)
        else:
            pixels = torch.from_numpy(_map(row[column], row.get("image")))
            scores = box_importance_from_map(pixels, torch.as_tensor(boxes))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}, {column}: {error}") from None
    return scores.numpy().astype(np.float32)


def _given(value: Any, count: int, name: str) -> npt.NDArray[np.float32]:
    scores = np.asarray(value, np.float32)
    if scores.shape != (count,):
        raise ValueError(f"{name}: importance has shape {scores.shape} for {count} boxes; give one number a box.")
    if not ((scores >= 0) & (scores <= 1)).all():  # written so that NaN is wrong too
        wrong = scores[~((scores >= 0) & (scores <= 1))][0]
        raise ValueError(f"{name}: importance holds {wrong:g}, allowed is [0, 1]; rescale it.")
    return scores


def _map(value: Any, image: Any) -> npt.NDArray[np.float64]:
    try:
        pixels = np.asarray(value)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the image cannot be read ({error}); replace the file.") from None
    if pixels.ndim != 2:
        raise ValueError(f"it has shape {pixels.shape}; give one channel, for example by `.convert('L')`.")
    if hasattr(image, "size") and not isinstance(image, np.ndarray):
        width, height = image.size
        rows, columns = pixels.shape
        # A smaller or larger copy is off by up to a pixel of its own, for sizes are whole numbers.
        if abs(columns - rows * width / height) > 1 and abs(rows - columns * height / width) > 1:
            raise ValueError(
                f"the map is {columns}x{rows}, the image {width}x{height}: not the same aspect ratio, so boxes would lie "
                "elsewhere on it. Resize the map to the image."
            )
    return pixels.astype(np.float64)


def question_generator(seed: int, question_id: str, use: int) -> np.random.Generator:
    """A generator that depends on the seed, the question and the use alone: the same in every epoch and process."""
    return np.random.default_rng([seed, zlib.crc32(question_id.encode()), use])
