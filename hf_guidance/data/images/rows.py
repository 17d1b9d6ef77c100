"""The row format of annotated images, and the checks that every row passes.

| column   | feature                                                    | meaning                                      |
|----------|------------------------------------------------------------|----------------------------------------------|
| image    | `Image()`                                                  | as `datasets` decodes it, EXIF applied       |
| image_id | `Value("string")`                                          | unique within a split                        |
| labels   | `List(ClassLabel)`                                         | sorted, each once; one entry if single-label |
| objects  | `List({"bbox": List(float32, 4), "category": ClassLabel})` | xyxy in pixels, 0-based, half-open           |
| mask     | `Image()`, one channel of whole numbers, optional          | see below and `class_mask`                   |
| group    | `ClassLabel` or `Value("int64")`, optional                 | subgroup for worst-group accuracy            |

Labels are those of the image: an object whose box was skipped is not in `objects`, but its class stays in `labels`.
A mask pixel is 0 outside every object, 255 inside an object of unspecified class (a binary mask), and `1 + category`
inside an object of that class. A binary 0/255 mask is therefore already in this format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import datasets
import numpy as np
import numpy.typing as npt

from hf_guidance.data.images.box_checks import check_box
from hf_guidance.data.images.pictures import verify_image

# Builders of others find the two checks here.
__all__ = ["ANY_CLASS", "annotated_image_features", "check_box", "class_mask", "verify_image"]

ANY_CLASS = 255


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
