"""The row format of annotated images, and the checks that every row passes.

| column   | feature                                                    | meaning                                      |
|----------|------------------------------------------------------------|----------------------------------------------|
| image    | `Image()`                                                  | as `datasets` decodes it, EXIF applied       |
| image_id | `Value("string")`                                          | unique within a split                        |
| labels   | `List(ClassLabel)`                                         | sorted, each once; one entry if single-label |
| objects  | `List({"bbox": List(float32, 4), "category": ClassLabel})` | xyxy in pixels, 0-based, half-open           |
| mask     | `Image()`, one channel, 8 bit, optional                    | see below and `class_mask`                   |
| group    | `ClassLabel` or `Value("int64")`, optional                 | subgroup for worst-group accuracy            |

A mask pixel is 0 outside every object, 255 inside an object of unspecified class (a binary mask), and `1 + category`
inside an object of that class. A binary 0/255 mask is therefore already in this format.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, cast

import datasets
import numpy as np
import numpy.typing as npt
from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation

__all__ = ["ANY_CLASS", "annotated_image_features", "check_box", "class_mask", "verify_image"]

ANY_CLASS = 255
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def annotated_image_features(
    names: Sequence[str], *, mask: bool = False, groups: Sequence[str] | bool | None = None
) -> datasets.Features:
    """The `datasets.Features` of annotated images.

    Args:
        names: class names in the order of their indices.
        mask: whether rows carry a mask.
        groups: names of the groups, True for plain integers, None for no group column.

    Returns:
        Features with the columns of this module's table.

    Raises:
        ValueError: without names, or with a name given twice.

    Example:
        >>> list(annotated_image_features(["cat", "dog"], mask=True))
        ['image', 'image_id', 'labels', 'objects', 'mask']
    """
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ValueError(f"names: got {names}; allowed: at least one, each once (twice: {twice}). Rename or merge.")
    label = datasets.ClassLabel(names=names)
    columns: dict[str, Any] = {
        "image": datasets.Image(),
        "image_id": datasets.Value("string"),
        "labels": datasets.List(label),
        "objects": datasets.List({"bbox": datasets.List(datasets.Value("float32"), length=4), "category": label}),
    }
    if mask:
        columns["mask"] = datasets.Image()
    if groups is not None and groups is not False:
        columns["group"] = datasets.Value("int64") if groups is True else datasets.ClassLabel(names=list(groups))
    return datasets.Features(columns)


def class_mask(mask: npt.ArrayLike, category: int) -> npt.NDArray[np.bool_]:
    """Where a mask shows a class: `mask == 255` (any class) or `mask == category + 1`.

    Args:
        mask: (height, width) integers as stored in the `mask` column.
        category: class index, 0 to 253.

    Returns:
        (height, width) booleans.

    Example:
        >>> class_mask([[0, 1, 2, 255]], 1).tolist()
        [[False, False, True, True]]
    """
    pixels = np.asarray(mask)
    return cast(npt.NDArray[np.bool_], (pixels == ANY_CLASS) | (pixels == category + 1))


def check_box(box: Sequence[float], width: int, height: int, item: str, hint: str = "") -> None:
    """Check one xyxy box (pixels, 0-based, half-open) against the size of its image.

    Args:
        box: xmin, ymin, xmax, ymax.
        width: width of the image in pixels.
        height: height of the image in pixels.
        item: names the image and the object in the error.
        hint: the usual cause of such a box, for the error.

    Raises:
        InvalidAnnotation: (a `ValueError`) for a box that is not finite, reversed, empty, or not inside the image.
    """
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)):
        reason = "box not finite"
    elif x1 < x0 or y1 < y0:
        reason = "box reversed"
    elif x1 == x0 or y1 == y0:
        reason = "box of zero width or height"
    elif x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        reason = "box outside the image"
    else:
        return
    allowed = f"0 <= xmin < xmax <= {width} and 0 <= ymin < ymax <= {height}"
    got = ", ".join(f"{value:g}" for value in box)
    message = f"{reason}: ({got}) as xyxy, 0-based and half-open; allowed: {allowed}.{hint}"
    raise InvalidAnnotation(reason, item, message)


def verify_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read an image file to its end and return its size as `datasets` decodes it (EXIF rotation applied).

    Args:
        path: the file.

    Returns:
        (width, height) in pixels.

    Raises:
        InvalidAnnotation: (a `ValueError`) when the file is unreadable or truncated.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            rotated = image.getexif().get(0x0112) in _ROTATED
            image.draft("L", (1, 1))  # JPEG: reads every byte, but skips most of the arithmetic
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        message = f"the image is unreadable or truncated ({error})."
        raise InvalidAnnotation("unreadable or truncated image", str(path), message) from None
    return (height, width) if rotated else (width, height)
