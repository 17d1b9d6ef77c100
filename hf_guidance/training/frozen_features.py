"""Freeze all of a classifier but its last layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.families import Family, family_of
from hf_guidance.training.pruning.head import head_of


def freeze_features(model: nn.Module, inputs: Mapping[str, Any], family: Family | None = None) -> str:
    """Leave only the last layer to the optimizer: the Linear module whose output is the logits.

    Guidance of frozen features can only choose among them; it cannot move what a network knows of the background into the cells
    of the object. Train with ``GuidanceArguments(frozen_batch_norm=True)``, for BatchNorm's statistics are features, too.

    Args:
        model: The classifier, possibly wrapped. Its parameters' ``requires_grad`` is changed.
        inputs: Arguments of its forward for one or more images, as an image processor makes them; the last layer is found by
            calling the model, in eval mode.
        family: Of the model; found where none is given.

    Returns:
        The path of the last layer.

    Raises:
        ValueError: The model has no family, or not exactly one Linear module puts out the logits, as where the head is a
            convolution or has several parts; nothing is frozen then.

    Example:
        >>> inputs = image_processor(images=train[0]["image"], return_tensors="pt")
        >>> freeze_features(model, inputs)
        'classifier.1'
    """
    inner = unwrapped(model)
    path = head_of(inner, family_of(inner) if family is None else family, inputs)
    inner.requires_grad_(False)
    inner.get_submodule(path).requires_grad_(True)
    return path
