"""Sizes of the B-cos ResNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.models.dynamic_product import check_exponents

LAYER_TYPES = ("basic", "bottleneck")
OF_DEPTH: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
_WIDTHS = {"basic": (64, 128, 256, 512), "bottleneck": (256, 512, 1024, 2048)}


class BcosResNetConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of ``BcosResNetForImageClassification``; the defaults are the B-cos ResNet-50 of arXiv 2303.11932.

    Field names are those of transformers' ResNetConfig where both have the field.

    Args:
        num_channels: Channels of the input: r, g, b, 1 - r, 1 - g, 1 - b.
        embedding_size: Channels behind the stem.
        hidden_sizes: Channels behind every stage; every stage but the first halves the map.
        depths: Blocks of every stage.
        layer_type: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 with a quarter of the channels).
        b: Exponent of the cosine in every layer.
        max_out: Filters that every output takes the largest of.
        logit_bias: Added to every logit; log(0.001 / 0.999) by default, so that 1000 classes begin as rare ones. Cross-entropy
            does not see it. Few classes learn faster from scratch under binary cross-entropy with the log-odds of a class,
            as log(1 / 9) for ten.
        downsample_in_stem: Whether the stem is a 7x7 convolution of stride 2 and mean pooling of stride 2; otherwise it is
            a 3x3 convolution, for small images.
        norm_eps: Added to the variance in the norms.
        **kwargs: What every configuration takes, such as ``num_labels``, ``id2label`` or ``problem_type``.

    Raises:
        ValueError: Unknown layer type, stages of unequal number, sizes below 1, or b below 1.

    Example:
        >>> config = BcosResNetConfig.of_depth(18, num_labels=20, problem_type="multi_label_classification")
    """

    model_type = "bcos_resnet"

    def __init__(
        self,
        num_channels: int = 6,
        embedding_size: int = 64,
        hidden_sizes: Sequence[int] = (256, 512, 1024, 2048),
        depths: Sequence[int] = (3, 4, 6, 3),
        layer_type: str = "bottleneck",
        b: float = 2.0,
        max_out: int = 1,
        logit_bias: float = math.log(0.001 / 0.999),
        downsample_in_stem: bool = True,
        norm_eps: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        self.num_channels = num_channels
        self.embedding_size = embedding_size
        self.hidden_sizes = list(hidden_sizes)
        self.depths = list(depths)
        self.layer_type = layer_type
        self.b = b
        self.max_out = max_out
        self.logit_bias = logit_bias
        self.downsample_in_stem = downsample_in_stem
        self.norm_eps = norm_eps
        super().__init__(**kwargs)
        self._check()

    @classmethod
    def of_depth(cls, depth: int, **kwargs: Any) -> BcosResNetConfig:
        """The sizes of ResNet-18, -34, -50 or -101.

        Args:
            depth: 18, 34, 50 or 101.
            **kwargs: As for the class.

        Raises:
            ValueError: Another depth.
        """
        if depth not in OF_DEPTH:
            raise ValueError(
                f"BcosResNetConfig.of_depth({depth}) is unknown; choose one of {list(OF_DEPTH)}, or give depths, "
                "hidden_sizes and layer_type yourself."
            )
        layer_type, depths = OF_DEPTH[depth]
        return cls(**{"layer_type": layer_type, "depths": depths, "hidden_sizes": _WIDTHS[layer_type]} | kwargs)

    def _check(self) -> None:
        name = type(self).__name__
        check_exponents(name, self.b, self.max_out)
        if self.layer_type not in LAYER_TYPES:
            raise ValueError(f"{name}(layer_type={self.layer_type!r}) is unknown; choose one of {list(LAYER_TYPES)}.")
        if len(self.depths) != len(self.hidden_sizes) or not self.depths:
            raise ValueError(
                f"{name}(depths={self.depths}, hidden_sizes={self.hidden_sizes}) give another number of stages each; give "
                "one entry a stage in both."
            )
        quarter = 4 if self.layer_type == "bottleneck" else 1
        if min(self.depths) < 1 or any(size < quarter or size % quarter for size in self.hidden_sizes):
            raise ValueError(
                f"{name}(depths={self.depths}, hidden_sizes={self.hidden_sizes}): every stage needs at least one block, and "
                f"channels that are a multiple of {quarter}."
            )
        if self.embedding_size < 1 or self.num_channels < 1:
            raise ValueError(
                f"{name}(embedding_size={self.embedding_size}, num_channels={self.num_channels}) must be at least 1; images "
                "have 6 channels: the colours and their complements."
            )
