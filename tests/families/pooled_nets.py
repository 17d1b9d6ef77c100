"""Small image classifiers of timm and transformers, by whether their head is a Linear layer on the mean of the last places."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import transformers
from odd_nets import SIZE
from tiny import CLASSES, timm_model
from torch import nn
from transformers import (
    EfficientNetConfig,
    MobileNetV1Config,
    MobileNetV2Config,
    PoolFormerConfig,
    PvtV2Config,
    RegNetConfig,
    Swinv2Config,
)

SIDE = 128
_TOKENS = {"img_size": SIDE, "patch_size": 16, "embed_dim": 12, "depth": 2, "num_heads": 2}
_EFFICIENT = {"width_coefficient": 0.25, "depth_coefficient": 0.5, "hidden_dim": 320}
_PVT = {
    "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2], "mlp_ratios": [2, 2, 2, 2],
}  # fmt: skip

# name -> (architecture, arguments, "final", the Linear layer)
TIMM = {
    "efficientnet": ("test_efficientnet", {}, "bn2", "classifier"),
    "efficientnet_lite0": ("tf_efficientnet_lite0", {}, "bn2", "classifier"),
    "mobilenetv2": ("mobilenetv2_035", {}, "bn2", "classifier"),
    "mnasnet": ("mnasnet_small", {}, "bn2", "classifier"),
    "regnet": ("regnetx_002", {}, "s4", "head.fc"),
    "densenet": ("densenet121", {"growth_rate": 8, "block_config": (1, 1, 1, 1)}, "features.norm5", "classifier"),
    "byobnet": ("test_byobnet", {}, "final_conv", "head.fc"),
    "cspnet": ("cs3darknet_focus_s", {}, "stages.3", "head.fc"),
    "rexnet": ("rexnet_100", {"drop_rate": 0.0}, "features", "head.fc"),
    "mobilevit": ("mobilevit_xxs", {}, "final_conv", "head.fc"),
    "vit of a mean": ("vit_tiny_patch16_224", {**_TOKENS, "global_pool": "avg", "fc_norm": False}, "norm", "head"),
    "pvt": ("pvt_v2_b0", {}, "stages.3", "head"),
}  # fmt: skip


def _efficientnet(**options):
    return EfficientNetConfig(**_EFFICIENT, **options)


# name -> (class, configuration, "final", the Linear layer)
TRANSFORMERS = {
    "EfficientNet": (_efficientnet(dropout_rate=0.0), "efficientnet.encoder.top_activation", "classifier"),
    "RegNet": (
        RegNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], groups_width=4),
        "regnet.encoder.stages.3", "classifier.1",
    ),
    "MobileNetV1": (
        MobileNetV1Config(depth_multiplier=0.25, classifier_dropout_prob=0.0), "mobilenet_v1.layer.25", "classifier",
    ),
    "MobileNetV2": (
        MobileNetV2Config(depth_multiplier=0.25, classifier_dropout_prob=0.0), "mobilenet_v2.conv_1x1", "classifier",
    ),
    "PoolFormer": (PoolFormerConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1]), "norm", "classifier"),
    "PvtV2": (PvtV2Config(**_PVT), "pvt_v2", "classifier"),
    "Swinv2": (
        Swinv2Config(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2), "swinv2.layernorm",
        "classifier",
    ),
}  # fmt: skip

# Nets whose head is another, with the options that make it so.
OTHERS = {
    "a norm behind the mean": lambda: timm_model("convnext_atto", dims=[8, 12, 16, 20], depths=[1, 1, 1, 1]),
    "a norm behind the mean of tokens": lambda: timm_model("vit_tiny_patch16_224", **_TOKENS, global_pool="avg"),
    "a class token": lambda: timm_model("vit_tiny_patch16_224", **_TOKENS),
    "a hidden layer behind the mean": lambda: timm_model("mobilenetv3_small_050"),
    "a hidden layer of GhostNet": lambda: timm_model("ghostnet_050"),
    "dropout": lambda: timm_model("test_efficientnet", drop_rate=0.2),
    "dropout in ReXNet by default": lambda: timm_model("rexnet_100"),
    "dropout of transformers": lambda: transformers_net("EfficientNet", _efficientnet(dropout_rate=0.2)),
    "a maximum": lambda: timm_model("test_efficientnet", global_pool="max"),
    "a mean and a maximum": lambda: timm_model("test_efficientnet", global_pool="avgmax"),
    "two heads": lambda: timm_model("efficientformer_l1", embed_dims=(8, 12, 16, 20), depths=(1, 1, 1, 2)),
    "a convolution as head": lambda: timm_model("dla46x_c"),
}


def transformers_net(name, config):
    """A model of transformers, for images of ``SIDE`` pixels."""
    config.num_labels, config.image_size = CLASSES, SIDE
    return getattr(transformers, f"{name}ForImageClassification")(config)


def spread_out(model):
    """The model in float64 and eval mode, with no parameter at an initial value that hides a path."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.double().eval()


def pooled_net(name):
    """A net of TIMM or TRANSFORMERS, the path of its "final" and that of its Linear layer."""
    torch.manual_seed(0)
    if name in TIMM:
        architecture, arguments, final, linear = TIMM[name]
        return spread_out(timm_model(architecture, **arguments)), f"timm_model.{final}", f"timm_model.{linear}"
    config, final, linear = TRANSFORMERS[name]
    return spread_out(transformers_net(name, config)), final, linear


class Pooled(nn.Module):
    """Two convolutions, and a head of which ``between`` makes vectors of the maps of the second."""

    def __init__(self, between, config=None):
        super().__init__()
        self.config = config or SimpleNamespace(image_size=SIZE, num_channels=3, model_type="mine")
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.between = between
        self.head = nn.Linear(8, CLASSES)

    def forward(self, pixel_values):
        return {"logits": self.head(self.between(self.second(torch.tanh(self.first(pixel_values)))))}


class Between(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, maps):
        return self.function(maps)


def mean_of(maps):
    return maps.mean((2, 3))
