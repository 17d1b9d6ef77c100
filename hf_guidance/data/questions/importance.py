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
from hf_guidance.data.image_size import image_size
from hf_guidance.data.questions.maps import map_values
from hf_guidance.data.shares import ROUNDING

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
            (height, width), (height, width, channels) or (channels, height, width)) to compare its aspect ratio with.

    Returns:
        (objects,) float32 in [0, 1], or None where the row has no importance.

    Raises:
        ValueError: The chosen column is missing; importance is not one number per box, is NaN or outside [0, 1]; reference
            boxes are not (n, 4), NaN, reversed or outside [0, 1]; a map has several channels, a palette, NaN, negative values,
            or not the image's aspect ratio.
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
            scores = box_importance_from_iou(torch.as_tensor(boxes), _references(row[column]))
        else:
            size = image_size(row.get("image"))
            if size is None and count is not None:
                count("map not checked against an image", 1, name)
            pixels = map_values(row[column])
            if size is not None:
                _check_aspect((pixels.shape[0], pixels.shape[1]), size)
            scores = box_importance_from_map(torch.from_numpy(pixels), torch.as_tensor(boxes))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}, {column}: {error}") from None
    return scores.numpy().astype(np.float32)


def _given(value: Any, count: int, name: str) -> npt.NDArray[np.float32]:
    scores = _numbers(value, f"{name}: importance").astype(np.float32)
    if scores.shape != (count,):
        raise ValueError(f"{name}: importance has shape {scores.shape} for {count} boxes; give one number per box.")
    if not ((scores >= 0) & (scores <= 1)).all():  # written so that NaN is refused too
        wrong = scores[~((scores >= 0) & (scores <= 1))][0]
        raise ValueError(f"{name}: importance holds {wrong:g}, allowed is [0, 1]; rescale it.")
    return scores


def _references(value: Any) -> torch.Tensor:
    boxes = _numbers(value, "the boxes").astype(np.float64)
    if boxes.shape != (0,) and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f"reference_boxes have shape {boxes.shape}; give (n, 4) as xmin, ymin, xmax, ymax in [0, 1].")
    rounded = boxes.clip(0, 1)
    # A quotient of pixels that was rounded may end a little outside; more is no rounding.
    return torch.from_numpy(np.where(abs(rounded - boxes) <= ROUNDING, rounded, boxes))


def _numbers(value: Any, item: str) -> npt.NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double()
    try:
        numbers = np.asarray(value)
        if numbers.dtype == object:  # None among numbers becomes NaN, which is refused with its place
            numbers = numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{item} cannot be read as numbers ({error}); give numbers.") from None
    if numbers.dtype.kind not in "biuf":
        raise ValueError(f"{item} are {numbers.dtype}, not numbers; give numbers.")
    return numbers


def _check_aspect(shape: tuple[int, int], size: tuple[int, int]) -> None:
    (rows, columns), (height, width) = shape, size
    # A resized copy may be off by up to one of its pixels, because sizes are whole numbers.
    if abs(columns - rows * width / height) > 1 and abs(rows - columns * height / width) > 1:
        raise ValueError(
            f"the map is {columns}x{rows}, the image {width}x{height}: not the same aspect ratio, so boxes would lie "
            "elsewhere on it. Resize the map to the image."
        )


def question_generator(seed: int, question_id: str, use: int) -> np.random.Generator:
    """A generator that depends only on the seed, the question and the use: the same in every epoch and process."""
    return np.random.default_rng([seed, zlib.crc32(question_id.encode()), use])
