"""timm models inside transformers' TimmWrapperForImageClassification."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import nn

from hf_guidance.families.family import Family
from hf_guidance.families.stages import plain_linear, spread

MODEL_TYPES = ("timm_wrapper",)


def build(model: Any) -> Family:
    """Read the layers off the timm model: transformers by blocks, window transformers and CNNs by stages.

    Raises:
        ValueError: The timm model has neither blocks nor a list of stages.
    """
    net = model.timm_model
    if hasattr(net, "blocks") and hasattr(net, "num_prefix_tokens"):
        return _tokens(net)
    if getattr(net, "output_fmt", None) == "NHWC" and hasattr(net, "layers"):
        return _windows(net)
    return _stages(net)


def _tokens(net: Any) -> Family:
    # The output of the first LayerNorm of each block, for the reasons in families/vit.py.
    blocks = [f"timm_model.blocks.{i}.norm1" for i in range(len(net.blocks))]
    return Family(layers=spread(blocks), channel_axis=-1, prefix_tokens=net.num_prefix_tokens)


def _windows(net: Any) -> Family:
    paths = [f"timm_model.layers.{i}.blocks.{len(stage.blocks) - 1}.norm1" for i, stage in enumerate(net.layers)]
    plain = _is_mean(net.head.global_pool) and net.head.drop.p == 0 and plain_linear(net.head.fc)
    head = "timm_model.head.fc" if plain else None
    return Family(layers=spread([*paths[:-1], "timm_model.norm"]), channel_axis=-1, pooled_linear=head)


def _stages(net: Any) -> Family:
    stems = ("act1", "bn1", "stem", "conv_stem")
    stages = [info["module"] for info in getattr(net, "feature_info", []) if info["module"] not in stems]
    if not stages:
        raise ValueError(
            f"timm's {type(net).__name__} lists no stages in feature_info; pass GuidedTrainer(family=Family(layers=...)) "
            "with the module paths of this model."
        )
    stages = [_behind_norm(net, stage, following) for stage, following in pairwise([*stages, None])]
    plain = type(net).__name__ == "ResNet" and _is_mean(net.global_pool) and not net.drop_rate and plain_linear(net.fc)
    return Family(
        layers=spread([f"timm_model.{stage}" for stage in stages]), pooled_linear="timm_model.fc" if plain else None
    )


def _behind_norm(net: Any, stage: str, following: str | None) -> str:
    # ConvNeXt: the next stage begins with a LayerNorm, before which input times gradient vanishes (see families/convnext.py).
    downsample = getattr(net.get_submodule(following), "downsample", None) if following else None
    normed = isinstance(downsample, nn.Sequential) and "LayerNorm" in type(downsample[0]).__name__
    return f"{following}.downsample.0" if normed else stage


def _is_mean(pool: Any) -> bool:
    return bool(getattr(pool, "pool_type", None) == "avg")
