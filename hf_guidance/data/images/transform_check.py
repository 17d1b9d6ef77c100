"""A check of datasets with a transform: did boxes and masks follow the pixels?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import datasets
import numpy as np
import torch

from hf_guidance.common.generators import generators_kept
from hf_guidance.data.annotated import filled_rows
from hf_guidance.data.columns import ANSWER
from hf_guidance.data.image_size import image_size
from hf_guidance.data.images.joint_transform import JointTransform

_logger = logging.getLogger(__name__)
_ROWS, _TRIES = 4, 4  # annotated rows looked at, and times that each is transformed
_FIX = (
    "Give with_transform(JointTransform(pipeline)) of hf_guidance.data, or leave the rows as they are and give the pipeline to "
    "GuidanceCollator(transform=...)"
)


def refuse_left_behind(rows: Any, sources: Sequence[str]) -> None:
    """Raise where ``with_transform`` makes ``pixel_values`` of images and leaves boxes or masks as they were.

    Looks at the first annotated rows of a map-style dataset; the global generators are left as they were. Pixels that
    change from one time to the next, at the size of the image, may be moved or only coloured: that is logged.

    Args:
        rows: A dataset of any kind; only a ``datasets.Dataset`` with a transform is looked at.
        sources: Columns that hold importance.

    Raises:
        ValueError: Pixels have another size than the image, and a column of ``sources`` is unchanged.
    """
    transform = _transform_of(rows)
    plain = rows.with_format(None) if transform is not None else None
    # An answer has no place that could be left behind.
    columns = [name for name in sources if plain is not None and name in plain.column_names and name != ANSWER]
    if plain is None or "image" not in plain.column_names or not columns:
        return
    if isinstance(transform, JointTransform) and set(columns) <= set(
        rows.format["columns"]
    ):  # it moves all that it sees
        return
    annotated = (index for index, filled in enumerate(filled_rows(plain, columns)) if filled)
    with generators_kept():
        for index in islice(annotated, _ROWS):
            _check_row(plain[index], [rows[index] for _ in range(_TRIES)], columns)


def _transform_of(rows: Any) -> Any:
    if not isinstance(rows, datasets.Dataset) or rows.format["type"] != "custom":
        return None
    return rows.format["format_kwargs"].get("transform")


def _check_row(before: Mapping[str, Any], after: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    kept = [name for name in columns if all(_same(before[name], row.get(name)) for row in after)]
    if not kept or any(row.get("pixel_values") is None for row in after):
        return
    pixels = [torch.as_tensor(np.asarray(row["pixel_values"])) for row in after]
    size, sizes = image_size(before["image"]), {tuple(each.shape[-2:]) for each in pixels}
    if size is None:
        _logger.warning(
            f"the transform of the dataset leaves {kept} as they were, and the size of an image of type "
            f"{type(before['image']).__name__} is not known: if it moves pixels, they mark other places. {_FIX}."
        )
        return
    if sizes != {size}:
        raise ValueError(
            f"the transform of the dataset makes pixel_values of {min(sizes)} from an image of {size} (height, width), and "
            f"leaves {kept} as they were, which would then mark other places. {_FIX}. Padding at the right and below, which "
            "moves no box, is v2.Pad there; a mask needs it as much."
        )
    if not all(torch.equal(pixels[0], each) for each in pixels[1:]):
        _logger.warning(
            f"the transform of the dataset is random, and leaves {kept} as they were: if it moves pixels (crops, flips, "
            f"rotates), they mark other places. {_FIX}; a change of colours alone is no fault."
        )


def _same(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return False
    if isinstance(before, list | Mapping):
        return bool(before == after)
    return np.array_equal(np.asarray(before), np.asarray(after))
