"""The labels of a batch, for methods that need one class per image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hf_guidance.objectives.labels import checked_labels


def class_labels(batch: Mapping[str, Any], logits: Tensor) -> Tensor:
    """The class of every image, (images,) int64.

    Args:
        batch: The batch; its column ``labels`` is read.
        logits: (images, classes).

    Raises:
        ValueError: There are none, they are multi-hot, or a class is none of the model's.
    """
    if batch.get("labels") is None:
        raise ValueError(
            f"the batch has no column 'labels', which the compared methods are trained with; it has {sorted(batch)}."
        )
    labels = checked_labels(batch["labels"], logits)
    if labels.dim() != 1:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}, one value for every class; the compared methods are for one class per "
            "image: give integers (images,), and a model with problem_type='single_label_classification'."
        )
    return labels
