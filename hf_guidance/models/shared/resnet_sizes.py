"""Sizes of ResNets by depth, the check of a configuration's sizes, and labels in the form that the losses need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice

LAYER_TYPES = ("basic", "bottleneck")
RESNET_DEPTHS: Mapping[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
"""Kind and number of the blocks of ResNet-18 to -101 (arXiv 1512.03385, table 1)."""
REDUCTION = 4
"""Outer channels of a bottleneck divided by its inner channels."""
MULTI_LABEL = "multi_label_classification"
"""The ``problem_type`` of images with several classes."""


def sizes_of_depth(owner: str, depth: int) -> dict[str, Any]:
    """The fields ``layer_type``, ``depths`` and ``hidden_sizes`` of a ResNet by its number of layers.

    Args:
        owner: Name of the configuration, for the error.
        depth: 18, 34, 50 or 101.

    Raises:
        ValueError: Another depth; the message lists the known ones.
    """
    if depth not in RESNET_DEPTHS:
        raise ValueError(
            f"{owner}.of_depth({depth!r}) is unknown; choose one of {list(RESNET_DEPTHS)}, or give hidden_sizes, depths and "
            "layer_type."
        )
    layer_type, depths = RESNET_DEPTHS[depth]
    outer = REDUCTION if layer_type == "bottleneck" else 1
    sizes = [outer * 64 * 2**stage for stage in range(len(depths))]
    return {"layer_type": layer_type, "depths": depths, "hidden_sizes": sizes}


def listed(sizes: Any) -> Any:
    """The sizes of the stages as a list, for JSON; a value that is not a sequence is returned for `check_sizes` to refuse."""
    return list(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, str) else sizes


def check_sizes(config: Any) -> None:
    """Check the sizes of a configuration.

    Args:
        config: A configuration with ``num_channels``, ``embedding_size``, ``hidden_sizes``, ``depths`` and ``layer_type``.

    Raises:
        ValueError: A size that is not a whole number or is below 1, stages that do not match, an unknown layer type, or
            channels that a bottleneck cannot divide by 4.
    """
    owner, sizes, depths = type(config).__name__, config.hidden_sizes, config.depths
    for name in ("num_channels", "embedding_size"):
        if not _is_size(getattr(config, name)):
            raise ValueError(f"{owner}({name}={getattr(config, name)!r}) must be at least 1 and a whole number.")
    lists = isinstance(depths, list) and isinstance(sizes, list)
    if not (lists and depths and len(depths) == len(sizes) and all(map(_is_size, [*depths, *sizes]))):
        raise ValueError(
            f"{owner}(hidden_sizes={sizes}, depths={depths}): give one number of channels and one of blocks per stage, each "
            "at least 1 and whole."
        )
    check_choice("layer_type", config.layer_type, LAYER_TYPES, config)
    if config.layer_type == "bottleneck" and any(size % REDUCTION for size in sizes):
        raise ValueError(
            f"{owner}(hidden_sizes={sizes}): a bottleneck has a quarter of the channels inside; give multiples of {REDUCTION}, "
            "or layer_type='basic'."
        )


def fitting_labels(labels: Tensor, logits: Tensor, problem_type: str | None) -> Tensor:
    """Labels as the losses need them: int64 classes, or in the dtype of the logits for images with several classes.

    Args:
        labels: (batch,) or (batch, 1) integers, or (batch, classes) in [0, 1] of any dtype, for several classes.
        logits: (batch, classes).
        problem_type: That of the configuration; None takes floats with two axes as several classes.

    Raises:
        ValueError: Another shape, or floats as classes.
    """
    multi = problem_type == MULTI_LABEL or (problem_type is None and labels.is_floating_point() and labels.dim() == 2)
    if not multi and labels.shape == (len(logits), 1):
        labels = labels.squeeze(1)
    if labels.shape != (logits.shape if multi else logits.shape[:1]):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)} with "
            f"problem_type={problem_type!r}; (batch,) int64 classes are needed, or with problem_type={MULTI_LABEL!r} "
            "(batch, classes) in [0, 1]."
        )
    if multi:
        return labels.to(logits.dtype)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels are {labels.dtype}; one class per image is an integer: give int64, such as labels.long()."
        )
    return labels.long()


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
