"""Bias-free ResNets: networks whose logits scale with the image."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from hf_guidance.models.shared.resnet_sizes import REDUCTION, fitting_labels
from hf_guidance.models.shared.same_depth import SameDepth
from hf_guidance.models.xdnn_resnet.configuration import XDNNResNetConfig


class XDNNConvolution(nn.Conv2d):
    """A convolution without bias that changes the size only by its stride, and draws its initial weights.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        side: Height and width of the kernel, odd.
        stride: Stride of the kernel.
        scale: Factor of the initial weights, whose variance is ``2 / (outputs * side²)`` without it (He's, by outputs).
    """

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1, scale: float = 1.0) -> None:
        self.scale = scale  # before reset_parameters, which the constructor calls
        super().__init__(inputs, outputs, side, stride, side // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.normal_(self.weight, std=self.scale * (2 / (len(self.weight) * self.weight[0, 0].numel())) ** 0.5)


class XDNNStem(nn.Module):
    """7x7 convolution of stride 2, ReLU, and 3x3 max pooling of stride 2 if the configuration has it."""

    def __init__(self, config: XDNNResNetConfig) -> None:
        super().__init__()
        self.convolution = XDNNConvolution(config.num_channels, config.embedding_size, 7, 2)
        self.pooling = nn.MaxPool2d(3, 2, 1) if config.downsample_in_stem else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, embedding_size, ...)."""
        return self.pooling(functional.relu(self.convolution(pixels)))  # type: ignore[no-any-return]


class XDNNBlock(nn.Module):
    """``relu(branch(x) + shortcut(x))``: convolutions with ReLU between them, and a 1x1 convolution where sizes change.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        stride: Stride of the 3x3 convolution, in a basic block of the first one.
        bottleneck: 1x1, 3x3 and 1x1 instead of two 3x3 convolutions.
        blocks: Number of blocks in the whole network.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, bottleneck: bool, blocks: int) -> None:
        super().__init__()
        inner = outputs // REDUCTION if bottleneck else outputs
        sides, strided = ((1, 3, 1), 1) if bottleneck else ((3, 3), 0)
        channels = [inputs, *[inner] * (len(sides) - 1), outputs]
        scales = [blocks ** (-0.5 / (len(sides) - 1))] * (len(sides) - 1) + [0.0]
        self.convolutions = nn.ModuleList(
            XDNNConvolution(given, made, side, stride if i == strided else 1, scale)
            for i, ((given, made), side, scale) in enumerate(zip(pairwise(channels), sides, scales, strict=True))
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = XDNNConvolution(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        inside = x
        for index, convolution in enumerate(self.convolutions):
            inside = convolution(functional.relu(inside) if index else inside)
        return functional.relu(inside + self.shortcut(x))


class XDNNResNetForImageClassification(SameDepth):
    """A ResNet without biases and without normalisation, an X-DNN (arXiv 2111.07668).

    Convolutions, ReLU, max pooling and the mean are positively homogeneous, so ``logits(a x) - bias = a (logits(x) - bias)``
    for ``a > 0``, where bias is that of the head, the only one the network may have. Hence integrated gradients with
    baseline 0 are exactly input times gradient, and add up to the logit without its bias (arXiv 2111.07668, section 3).

    As there is no normalisation, the weights begin as in Fixup (arXiv 1901.09321, section 3): the last convolution of every
    branch and the head are zero, all others are He's, those inside the L branches of m layers times
    ``L^(-1 / (2m - 2))``. So logits and attributions are zero before the first step.

    Note:
        The released code draws the first convolution by torch's default, and that of arXiv 2303.11932 the new head, too.

    Example:
        >>> model = XDNNResNetForImageClassification(XDNNResNetConfig.of_depth(50, num_labels=20))
        >>> model(pixel_values, labels=labels).loss.backward()
    """

    config_class = XDNNResNetConfig
    base_model_prefix = "xdnn_resnet"
    main_input_name = "pixel_values"
    _no_split_modules = ("XDNNBlock",)

    def __init__(self, config: XDNNResNetConfig) -> None:
        super().__init__(config)
        self.stem = XDNNStem(config)
        self.stages = nn.Sequential(*_stages(config))
        self.classifier = nn.Linear(config.hidden_sizes[-1], config.num_labels, bias=config.head_bias)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, XDNNConvolution):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self, pixel_values: Tensor | None = None, labels: Tensor | None = None, return_dict: bool | None = None
    ) -> Any:
        """Classify images.

        Args:
            pixel_values: (batch, channels, height, width) float, cast to the dtype of the weights. Zero is the baseline; with
                an image processor that subtracts the mean colour, it is that colour.
            labels: (batch,) integer classes, or (batch, classes) in [0, 1] for several; ``config.problem_type`` decides if
                it is set.
            return_dict: False gives a tuple.

        Returns:
            ImageClassifierOutputWithNoAttention with ``logits`` (batch, classes), and ``loss`` if labels were given.

        Raises:
            ValueError: No images, images of another shape, or labels that do not fit.
        """
        channels = self.config.num_channels
        if pixel_values is None or pixel_values.dim() != 4 or pixel_values.shape[1] != channels:
            given = None if pixel_values is None else tuple(pixel_values.shape)
            raise ValueError(
                f"pixel_values has shape {given}; (batch, {channels}, height, width) is needed (config.num_channels), as "
                "XDNNImageProcessor gives for 3."
            )
        if pixel_values.is_floating_point():
            pixel_values = pixel_values.to(self.stem.convolution.weight.dtype)
        logits = self.classifier(self.stages(self.stem(pixel_values)).mean((-2, -1)))
        loss = None if labels is None else self._loss(logits, labels)
        output = ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _loss(self, logits: Tensor, labels: Tensor) -> Any:
        kind = self.config.problem_type
        if kind != "regression" and (kind is not None or self.config.num_labels > 1):  # a single logit means regression
            labels = fitting_labels(labels, logits, kind)
        return self.loss_function(labels, logits, self.config)


def _stages(config: XDNNResNetConfig) -> list[nn.Sequential]:
    stages, channels, count = [], config.embedding_size, sum(config.depths)
    for index, (outputs, depth) in enumerate(zip(config.hidden_sizes, config.depths, strict=True)):
        blocks = []
        for block in range(depth):
            stride = 2 if index and not block else 1
            blocks.append(XDNNBlock(channels, outputs, stride, config.layer_type == "bottleneck", count))
            channels = outputs
        stages.append(nn.Sequential(*blocks))
    return stages
