"""Sizes of bias-free ResNets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.models.shared.remote_code import CarriesCode
from hf_guidance.models.shared.resnet_sizes import check_sizes, listed, sizes_of_depth


class XDNNResNetConfig(CarriesCode, PreTrainedConfig):  # type: ignore[misc]
    """Sizes of ``XDNNResNetForImageClassification``; the defaults are those of ResNet-50.

    The fields are named as in transformers' ResNetConfig. The classes are ``id2label``; ``num_labels`` sets only
    their number.

    Args:
        num_channels: Channels of the image.
        embedding_size: Channels after the first convolution.
        hidden_sizes: Channels after each stage.
        depths: Blocks of each stage.
        layer_type: "basic" (two 3x3 convolutions per block) or "bottleneck" (1x1, 3x3, 1x1 with a quarter of the channels).
        downsample_in_stem: Whether max pooling follows the first convolution.
        head_bias: Whether the logits have a bias, as in the released code of arXiv 2303.11932. Without it, attributions
            add up to the logit itself.
        **kwargs: What every configuration takes, such as ``num_labels`` or ``problem_type``.

    Raises:
        ValueError: A size that is not a whole number or is below 1, stages that do not match, an unknown layer type, or
            channels that a bottleneck cannot divide by 4.

    Example:
        >>> config = XDNNResNetConfig.of_depth(18, num_labels=20, problem_type="multi_label_classification")
    """

    model_type = "xdnn_resnet"

    def __init__(
        self,
        num_channels: int = 3,
        embedding_size: int = 64,
        hidden_sizes: Sequence[int] = (256, 512, 1024, 2048),
        depths: Sequence[int] = (3, 4, 6, 3),
        layer_type: str = "bottleneck",
        downsample_in_stem: bool = True,
        head_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        self.num_channels = num_channels
        self.embedding_size = embedding_size
        self.hidden_sizes = listed(hidden_sizes)
        self.depths = listed(depths)
        self.layer_type = layer_type
        self.downsample_in_stem = downsample_in_stem
        self.head_bias = head_bias
        super().__init__(**kwargs)
        check_sizes(self)

    @classmethod
    def of_depth(cls, depth: int, **fields: Any) -> XDNNResNetConfig:
        """The sizes of a ResNet by its number of layers.

        Args:
            depth: 18, 34, 50 or 101.
            **fields: Other fields of the configuration; they override those of the depth.

        Raises:
            ValueError: Another depth; lists those known.
        """
        return cls(**sizes_of_depth("XDNNResNetConfig", depth) | fields)
