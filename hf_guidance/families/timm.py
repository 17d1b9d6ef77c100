"""timm models inside transformers' TimmWrapperForImageClassification."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import nn

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import hooked, pair, plain_linear, plain_mean, spread
from hf_guidance.families.structure.image_classifiers import structured

MODEL_TYPES = ("timm_wrapper",)


def build(model: Any) -> Family:
    """The layers that the kind of net suggests, if they have places, else those that are found (``structure/``).

    Kinds are transformers by blocks, window transformers by stages, and CNNs by ``feature_info``. What the head is, is known of
    ResNet and Swin themselves, and found of the others.
    """
    net = model.timm_model
    if _has(net, "blocks") and hasattr(net, "num_prefix_tokens"):
        # The output of the first LayerNorm of each block, for the reasons in families/vit.py.
        return structured(model, [f"timm_model.blocks.{i}.norm1" for i in range(len(net.blocks))])
    if type(net).__name__ == "SwinTransformer":
        return _swin(net)
    if type(net).__name__ == "ResNet":
        return _resnet(net)
    return structured(model, _stages(net))


def _has(module: Any, name: str) -> bool:
    return isinstance(getattr(module, name, None), nn.Sequential | nn.ModuleList)


def _swin(net: Any) -> Family:
    paths = [f"timm_model.layers.{i}.blocks.{len(stage.blocks) - 1}.norm1" for i, stage in enumerate(net.layers)]
    paths[-1] = "timm_model.norm"
    plain = (
        _is_mean(net.head.global_pool) and net.head.drop.p == 0 and plain_linear(net.head.fc) and not hooked(net.head)
    )
    height, width = pair(net.patch_embed.patch_size)
    layouts = {path: Layout(-1, patch=(height * 2**i, width * 2**i)) for i, path in enumerate(paths)}
    head = "timm_model.head.fc" if plain else None
    return Family(layers=spread(paths), channel_axis=-1, layouts=layouts, pooled_linear=head)


def _resnet(net: Any) -> Family:
    paths = _stages(net)
    plain = _is_mean(net.global_pool) and not net.drop_rate and plain_linear(net.fc)
    layouts = dict.fromkeys(paths, Layout())
    return Family(layers=spread(paths), layouts=layouts, pooled_linear="timm_model.fc" if plain else None)


def _stages(net: Any) -> list[str]:
    stems = ("act1", "bn1", "stem", "conv_stem")
    stages = [info["module"] for info in getattr(net, "feature_info", None) or [] if info["module"] not in stems]
    return [f"timm_model.{_behind_norm(net, stage, following)}" for stage, following in pairwise([*stages, None])]


def _behind_norm(net: Any, stage: str, following: str | None) -> str:
    # ConvNeXt: the next stage begins with a LayerNorm, before which input times gradient vanishes (see families/convnext.py).
    downsample = getattr(net.get_submodule(following), "downsample", None) if following else None
    normed = isinstance(downsample, nn.Sequential) and "LayerNorm" in type(downsample[0]).__name__
    return f"{following}.downsample.0" if normed else stage


def _is_mean(pool: Any) -> bool:
    # timm's selectable pool names its kind, and holds the pool itself, which may have been replaced.
    if getattr(pool, "pool_type", None) != "avg" or hooked(pool):
        return False
    fast = type(pool.pool).__name__ == "FastAdaptiveAvgPool" and not hooked(pool.pool)
    return fast or plain_mean(pool.pool)
