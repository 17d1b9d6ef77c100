"""The objects of one image: features and boxes as float32, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.data.questions.region_files.numbers import real_numbers
from hf_guidance.data.shares import ROUNDING

Objects = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def checked_objects(features: Any, boxes: Any, name: str) -> Objects:
    """Features and boxes of an image as float32, or an error that names it.

    Args:
        features: (objects, dims), at least one object, real numbers of any dtype.
        boxes: (objects, 4) xyxy in [0, 1]; what rounding puts up to 1e-4 outside is clipped.
        name: Names the image or the row in errors.

    Raises:
        ValueError: Other shapes or dtypes, NaN or infinity, a box reversed or outside the image.
    """
    features = _float32(features, f"{name}: features")
    boxes = _float32(boxes, f"{name}: boxes")
    if features.ndim != 2 or not features.size:
        raise ValueError(
            f"{name}: features have shape {features.shape}; give (objects, dims) with at least one object."
        )
    if boxes.shape != (len(features), 4):
        raise ValueError(
            f"{name}: {len(features)} rows of features but boxes of shape {boxes.shape}; give one box per object."
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{name}: features hold NaN or infinity; extract them again, or leave the row out.")
    inside = (boxes >= -ROUNDING).all() and (boxes <= 1 + ROUNDING).all()  # NaN is not inside
    if not inside or not (boxes[:, :2] <= boxes[:, 2:]).all():
        raise ValueError(
            f"{name}: boxes reach from {boxes.min():g} to {boxes.max():g} or are reversed; allowed are xmin, ymin, xmax, ymax "
            "in [0, 1]. Divide pixel boxes by the image's width and height."
        )
    return features, boxes.clip(0, 1)


def _float32(value: Any, what: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # becomes infinity, which is refused
        return real_numbers(value, what).astype(np.float32, copy=False)
