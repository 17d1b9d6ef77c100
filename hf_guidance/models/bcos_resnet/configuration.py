"""Sizes of the B-cos ResNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.models.bcos_resnet.dynamic_product import check_exponents
from hf_guidance.models.shared.remote_code import CarriesCode
from hf_guidance.models.shared.resnet_sizes import check_sizes, listed, sizes_of_depth


class BcosResNetConfig(CarriesCode, PreTrainedConfig):  # type: ignore[misc]
    """Sizes of ``BcosResNetForImageClassification``; the defaults are the B-cos ResNet-50 of arXiv 2303.11932.

    Field names are those of transformers' ResNetConfig where both have the field.

    Args:
        num_channels: Channels of the input: r, g, b, 1 - r, 1 - g, 1 - b, as BcosImageProcessor makes them. Another number
            is for images that are prepared in another way.
        embedding_size: Channels after the stem.
        hidden_sizes: Channels after each stage; every stage but the first halves height and width of the map.
        depths: Blocks of each stage.
        layer_type: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 with a quarter of the channels).
        b: Exponent of the cosine in every layer.
        max_out: Filters per output, which takes the largest of their responses.
        logit_bias: Added to every logit; log(0.001 / 0.999) by default, so that each of 1000 classes begins as
            rare. Cross-entropy does not depend on it. With few classes, training from scratch under binary cross-entropy is
            faster with the log-odds of a class, such as log(1 / 9) for ten.
        downsample_in_stem: Whether the stem is a 7x7 convolution of stride 2 and mean pooling of stride 2; otherwise it is
            a 3x3 convolution, for small images.
        norm_eps: Added to the variance in the norms.
        **kwargs: What every configuration takes, such as ``num_labels``, ``id2label`` or ``problem_type``.

    Raises:
        ValueError: Unknown layer type, stages of unequal number, sizes that are not whole numbers or below 1, b below 1,
            ``logit_bias`` that is not a finite number, or ``norm_eps`` that is not a finite number above 0.

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
        self.hidden_sizes = listed(hidden_sizes)
        self.depths = listed(depths)
        self.layer_type = layer_type
        self.b = b
        self.max_out = max_out
        self.logit_bias = logit_bias
        self.downsample_in_stem = downsample_in_stem
        self.norm_eps = norm_eps
        super().__init__(**kwargs)
        check_exponents("BcosResNetConfig", b, max_out)
        check_sizes(self)
        if not _is_finite(logit_bias):
            raise ValueError(
                f"BcosResNetConfig(logit_bias={logit_bias!r}) must be a finite number, such as log(1 / 9)."
            )
        if not _is_finite(norm_eps) or norm_eps <= 0:
            raise ValueError(f"BcosResNetConfig(norm_eps={norm_eps!r}) must be a finite number above 0, such as 1e-5.")

    @classmethod
    def of_depth(cls, depth: int, **kwargs: Any) -> BcosResNetConfig:
        """The sizes of ResNet-18, -34, -50 or -101.

        Args:
            depth: 18, 34, 50 or 101.
            **kwargs: As for the class.

        Raises:
            ValueError: Another depth.
        """
        return cls(**sizes_of_depth("BcosResNetConfig", depth) | kwargs)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
