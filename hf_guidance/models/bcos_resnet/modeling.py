"""B-cos ResNet: a ResNet of B-cos convolutions and uncentred norms, without activations, biases and max-pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import ImageClassifierOutput

from hf_guidance.models.bcos_resnet.configuration import BcosResNetConfig
from hf_guidance.models.bcos_resnet.conv import BcosConv2d
from hf_guidance.models.bcos_resnet.uncentered_batch_norm import UncenteredBatchNorm2d
from hf_guidance.models.shared.resnet_sizes import MULTI_LABEL, fitting_labels
from hf_guidance.models.shared.same_depth import SameDepth


class BcosConvNorm(nn.Sequential):
    """A B-cos convolution that keeps the size at stride 1, and a norm."""

    def __init__(self, config: BcosResNetConfig, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> None:
        convolution = BcosConv2d(
            inputs, outputs, kernel_size, stride, kernel_size // 2, b=config.b, max_out=config.max_out
        )
        super().__init__()
        self.convolution = convolution
        self.norm = UncenteredBatchNorm2d(outputs, eps=config.norm_eps)


class BcosResNetBlock(nn.Module):
    """``y = block(x) + shortcut(x)``; nothing follows the sum."""

    def __init__(self, config: BcosResNetConfig, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if config.layer_type == "bottleneck":
            inner = outputs // 4
            layers = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
        else:
            layers = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        self.layers = nn.Sequential(*(BcosConvNorm(config, *sizes) for sizes in layers))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else BcosConvNorm(config, inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, out_height, out_width)."""
        y: Tensor = self.layers(x) + self.shortcut(x)
        return y


class BcosResNetForImageClassification(SameDepth):
    """B-cos ResNet as in arXiv 2303.11932: every layer is ``W(x) x``, so the logits are a linear map of the input.

    Stem (convolution, norm, mean pooling), stages of residual blocks, a 1x1 B-cos convolution to one map per class, mean
    over the places, plus one constant ``logit_bias``. Images must come from ``BcosImageProcessor``: six channels in [0, 1].

    Contributions (``BcosContribution``) sum to the logit minus ``logit_bias`` at every layer.

    References:
        Böhle et al., arXiv 2205.10268 and 2306.10898; Rao et al., arXiv 2303.11932.

    Example:
        >>> model = BcosResNetForImageClassification(BcosResNetConfig.of_depth(18, num_labels=20))
        >>> model(**BcosImageProcessor()(image, return_tensors="pt")).logits.shape
        torch.Size([1, 20])
    """

    config_class = BcosResNetConfig
    base_model_prefix = "bcos_resnet"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = False
    _no_split_modules = ["BcosResNetBlock"]  # noqa: RUF012

    def __init__(self, config: BcosResNetConfig) -> None:
        super().__init__(config)
        self.stem = _stem(config)
        stages, inputs = [], config.embedding_size
        for index, (size, depth) in enumerate(zip(config.hidden_sizes, config.depths, strict=True)):
            strides = [1 if index == 0 else 2] + [1] * (depth - 1)
            sizes = [inputs] + [size] * (depth - 1)
            stages.append(nn.Sequential(*map(_block(config, size), sizes, strides)))
            inputs = size
        self.stages = nn.ModuleList(stages)
        self.classifier = BcosConv2d(inputs, config.num_labels, 1, b=config.b, max_out=config.max_out)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, BcosConv2d):
            # Filters of length about 1: only directions matter, and a learning rate turns filters of one length equally fast.
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        elif isinstance(module, UncenteredBatchNorm2d):
            nn.init.ones_(module.weight)
            for name, buffer in module.named_buffers():
                nn.init.constant_(buffer, float(name == "running_var"))

    def forward(
        self, pixel_values: Tensor | None = None, labels: Tensor | None = None, *, return_dict: bool | None = None
    ) -> Any:
        """Classify images.

        Args:
            pixel_values: (batch, 6, height, width) in [0, 1]: the colours and their complements.
            labels: (batch,) integers for cross-entropy, or (batch, classes) in [0, 1] for binary cross-entropy; the config's
                ``problem_type`` decides if it is set.
            return_dict: False gives a tuple.

        Returns:
            ImageClassifierOutput; the logits of a net in half precision are float32.

        Raises:
            ValueError: Pixels missing or without the complements, labels that do not fit, or a ``problem_type`` of another
                kind than classification.
        """
        hidden = self.stem(self._checked(pixel_values))
        for stage in self.stages:
            hidden = stage(hidden)
        maps = self.classifier(hidden)
        # In float32: added to a bias of about -7, the mean would lose its digits (near 7, bfloat16 steps by 1/32).
        exact = maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
        logits = exact.mean((-2, -1)) + self.config.logit_bias
        loss = None if labels is None else self._loss(logits, labels)
        if self.config.return_dict if return_dict is None else return_dict:
            return ImageClassifierOutput(loss=loss, logits=logits)
        return (logits,) if loss is None else (loss, logits)

    def _checked(self, pixel_values: Tensor | None) -> Tensor:
        channels = self.config.num_channels
        if pixel_values is None or pixel_values.dim() != 4 or pixel_values.shape[1] != channels:
            given = None if pixel_values is None else tuple(pixel_values.shape)
            raise ValueError(
                f"pixel_values has shape {given}; a B-cos net needs (batch, {channels}, height, width): the colours in "
                "[0, 1] and their complements, not normalised. Make them with BcosImageProcessor (another model's "
                "processor, such as ViTImageProcessor, gives 3 channels)."
            )
        return pixel_values

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.problem_type == "regression":
            raise ValueError(
                "problem_type='regression': a B-cos net classifies; set config.problem_type to 'single_label_classification' "
                f"or {MULTI_LABEL!r}."
            )
        labels = fitting_labels(labels, logits, self.config.problem_type)
        if labels.is_floating_point():
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.cross_entropy(logits, labels)


def _stem(config: BcosResNetConfig) -> nn.Sequential:
    inputs, outputs = config.num_channels, config.embedding_size
    if not config.downsample_in_stem:
        return nn.Sequential(BcosConvNorm(config, inputs, outputs, 3))
    return nn.Sequential(BcosConvNorm(config, inputs, outputs, 7, 2), nn.AvgPool2d(3, stride=2, padding=1))


def _block(config: BcosResNetConfig, outputs: int) -> Any:
    return lambda inputs, stride: BcosResNetBlock(config, inputs, outputs, stride)
