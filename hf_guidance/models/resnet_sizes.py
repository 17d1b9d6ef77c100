"""Sizes of ResNets: those known by their depth, and which a configuration may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LAYER_TYPES = ("basic", "bottleneck")
RESNET_DEPTHS: Mapping[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
"""Kind and number of the blocks of ResNet-18 to -101 (arXiv 1512.03385, table 1)."""
REDUCTION = 4
"""Outer over inner channels of a bottleneck."""


def sizes_of_depth(owner: str, depth: int) -> dict[str, Any]:
    """The fields ``layer_type``, ``depths`` and ``hidden_sizes`` of a ResNet by its number of layers.

    Args:
        owner: Name of the configuration, for the error.
        depth: 18, 34, 50 or 101.

    Raises:
        ValueError: Another depth; lists those known.
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


def check_sizes(config: Any) -> None:
    """Check the sizes of a configuration.

    Args:
        config: With ``num_channels``, ``embedding_size``, ``hidden_sizes``, ``depths`` and ``layer_type``.

    Raises:
        ValueError: A size below 1, stages that do not match, an unknown layer type, or channels that a bottleneck cannot
            divide by 4.
    """
    owner, sizes, depths = type(config).__name__, config.hidden_sizes, config.depths
    for name in ("num_channels", "embedding_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"{owner}({name}={getattr(config, name)}) must be at least 1.")
    if not depths or len(depths) != len(sizes) or min(*depths, *sizes) < 1:
        raise ValueError(
            f"{owner}(hidden_sizes={sizes}, depths={depths}): give one number of channels and one of blocks a stage, each at "
            "least 1."
        )
    if config.layer_type not in LAYER_TYPES:
        raise ValueError(f"{owner}(layer_type={config.layer_type!r}) is unknown; choose one of {list(LAYER_TYPES)}.")
    if config.layer_type == "bottleneck" and any(size % REDUCTION for size in sizes):
        raise ValueError(
            f"{owner}(hidden_sizes={sizes}): a bottleneck has a quarter of the channels inside; give multiples of {REDUCTION}, "
            "or layer_type='basic'."
        )
