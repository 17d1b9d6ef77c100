"""prune_channels: channels of a model's last layer set to 0, for good."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.families import Family, family_of
from hf_guidance.families.structure.probe import Calling, Probe
from hf_guidance.families.structure.signature import inner
from hf_guidance.models.channel_mask import ChannelMask, attach_channel_mask
from hf_guidance.models.channel_mask.entry import ENTRY, checked_mask
from hf_guidance.views.layers import FINAL, is_final


def prune_channels(
    model: Any, keep: Tensor | Iterable[Any], *, layer: str = FINAL, family: Family | None = None
) -> ChannelMask:
    """Prune channels of a layer: its output h becomes m h, with m the mask of 0 and 1 (CRAYON-Pruning, paper, section III-C).

    The mask is part of the model from then on: it works in training and inference, stands in ``model.config.channel_mask``, is
    saved, published and, by ``load_pruned``, loaded with it. Where the architecture allows, the weights say the same, so that
    a plain ``from_pretrained`` without this library computes the same logits: below a head that is a Linear layer on the
    mean (ResNet, Swin, X-DNN, timm's ResNet and Swin, and nets of which it is found, such as EfficientNet without dropout)
    the columns of the pruned channels become 0; in a layer that is a LayerNorm (ViT, DeiT) their scale and shift do. There
    is no such form where a LayerNorm comes after the mean (ConvNeXt): such a model needs ``load_pruned``. Gradients of
    these weights are 0, so they stay 0 in training.

    Args:
        model: An image classifier; changed in place, for good. Keep the original if you want to go back.
        keep: (channels,) bool or 0/1, True for channels that stay, as ``neuron_votes`` gives it.
        layer: A symbolic layer or a module path.
        family: The model's family; found by ``family_of`` when None.

    Returns:
        The mask as it stands in the configuration.

    Raises:
        ValueError: The mask has another width, values other than 0 and 1, or prunes all channels; it would bring back a
            channel that was pruned before; or the layer has no channels that are known.

    Example:
        >>> prune_channels(model, keep)
        >>> model.save_pretrained("pruned")
    """
    module: Any = inner(unwrapped(model))
    family = family or family_of(module)
    path = family.path(layer, module)
    axis = family.layout(path, module).channel_axis
    channels = _width(module, family, path, axis)
    mask = checked_mask(keep, channels, path)
    before = getattr(getattr(module, "config", None), ENTRY, None)
    if before is not None:
        _check_narrower(mask, ChannelMask.from_dict(before), path)
    entry = ChannelMask(path, channels, tuple((~mask).nonzero().flatten().tolist()), axis)
    attach_channel_mask(module, entry)
    _prune_weights(module, family, entry, of_head=is_final(layer, family.layers))
    return entry


def _width(model: nn.Module, family: Family, path: str, axis: int) -> int:
    widths: list[int] = []
    probe = Probe(model, Calling(family.arguments, family.logits), weights={})
    probe.each_output([path], probe.base[None], lambda _, output: widths.append(output.shape[axis]))
    if not widths:
        raise ValueError(
            f"layer {path!r} did not run in a call of {type(model).__name__}; choose one on the way to the logits."
        )
    return widths[-1]


def _check_narrower(mask: Tensor, before: ChannelMask, path: str) -> None:
    if before.layer != path:
        raise ValueError(
            f"the model is pruned at {before.layer!r} already, and now {path!r} is asked for; a model has one mask. Begin with "
            "the original model."
        )
    back = [index for index in before.pruned if mask[index]]
    if back:
        raise ValueError(
            f"the mask keeps {len(back)} channels that were pruned before, such as {back[0]}, whose weights are gone; begin "
            "with the original model, or give a mask that is 0 there, too."
        )


@torch.no_grad()
def _prune_weights(model: nn.Module, family: Family, mask: ChannelMask, of_head: bool) -> None:
    pruned = list(mask.pruned)
    layer = model.get_submodule(mask.layer)
    if of_head and family.pooled_linear is not None:
        model.get_submodule(family.pooled_linear).get_parameter("weight")[:, pruned] = 0
    elif isinstance(layer, nn.LayerNorm) and layer.weight is not None and layer.weight.shape == (mask.channels,):
        layer.weight[pruned] = 0
        if layer.bias is not None:
            layer.bias[pruned] = 0
