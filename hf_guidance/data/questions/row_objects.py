"""The objects of a row: its own features and boxes, or those that region features have for its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hf_guidance.data.questions.region_ids import image_keys
from hf_guidance.data.questions.region_objects import Objects, checked_objects


def row_objects(row: Mapping[str, Any], regions: Any, name: str) -> Objects:
    """Features and boxes of a row.

    Args:
        row: With ``features`` and ``boxes``, or with ``image_id``.
        regions: ``regions[image_id] -> (features, boxes)``; None where rows hold both.
        name: Names the row in errors.

    Raises:
        ValueError: The row has neither, its image has no features, or they are of another form.
    """
    if row.get("features") is not None:
        features, boxes = row["features"], row.get("boxes")
        if boxes is None:
            raise ValueError(f"{name} has features but no boxes; add column 'boxes', xyxy in [0, 1].")
    elif regions is None:
        raise ValueError(f"{name} has no column 'features' and the collator no regions; give one of the two.")
    elif row.get("image_id") is None:
        raise ValueError(f"{name} has no image_id, by which its features are looked up; add it.")
    else:
        features, boxes = _looked_up(row["image_id"], regions, name)
    return checked_objects(features, boxes, name)


def object_columns(objects: Sequence[Objects]) -> dict[str, Tensor]:
    """The batch columns of the objects of each row.

    Args:
        objects: Features (objects, dims) and boxes (objects, 4) of each row.

    Returns:
        ``visual_feats`` (rows, objects, dims) and ``visual_pos`` (rows, objects, 4) float32, ``visual_attention_mask``
        (rows, objects) int64, 0 for the padding of rows with fewer objects than others.

    Raises:
        ValueError: Rows have features of several lengths.
    """
    dims = {features.shape[1] for features, _ in objects}
    if len(dims) > 1:
        raise ValueError(f"features have {sorted(dims)} numbers per box in one batch; give every row the same.")
    return {
        "visual_feats": padded([features for features, _ in objects]),
        "visual_pos": padded([boxes for _, boxes in objects]),
        "visual_attention_mask": padded([np.ones(len(boxes), np.int64) for _, boxes in objects]),
    }


def padded(values: Sequence[npt.NDArray[Any]]) -> Tensor:
    """Arrays (n, ...) of several n, at least one, as one tensor (arrays, largest n, ...); 0 where there is nothing."""
    longest = max(map(len, values))
    filled = np.zeros((len(values), longest, *values[0].shape[1:]), values[0].dtype)
    for index, value in enumerate(values):
        filled[index, : len(value)] = value
    return torch.from_numpy(filled)


def _looked_up(image_id: Any, regions: Any, name: str) -> Objects:
    said = ""
    try:
        keys = image_keys(image_id)
    except ValueError as error:
        raise ValueError(f"{name}, image_id: {error}") from None
    for key in keys:
        try:
            found: Objects = regions[key]
        except (KeyError, ValueError) as error:
            said = said or str(error.args[0] if error.args else error)
        else:
            return found
    raise ValueError(f"{name}: no image features. {said}")
