"""The mask at work: a buffer of the masked layer, and a hook that multiplies the layer's output by it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hf_guidance.common.outputs import activation_of, with_activation
from hf_guidance.models.channel_mask.entry import ENTRY, ChannelMask

BUFFER = "channel_mask"
"""Name of the buffer in the masked layer: (channels,) bool, True for channels that stay."""
_AXIS = "channel_mask_axis"


def attach_channel_mask(model: Any, mask: ChannelMask) -> None:
    """Let a layer of a model put out 0 in some channels from now on, and write that into the configuration.

    With h the output of the layer and m the mask, the layer puts out m_k h_k in channel k, in training and in inference
    (CRAYON, paper, section III-C). The mask is applied before any other hook, so that whoever reads the layer, as Grad-CAM
    does, reads the masked output. Channels of all tokens are masked, those of class tokens too. Gradients with respect to what
    makes pruned channels are 0.

    The buffer is not among the saved tensors: names of weights stay those of the architecture, and the configuration is the one
    place that says what is pruned. A mask that is there already is replaced.

    Args:
        model: The unwrapped model.
        mask: The mask.

    Raises:
        ValueError: The model has no such layer. In a call of the model: the layer has another number of channels.
    """
    modules = dict(model.named_modules())
    if mask.layer not in modules:
        raise ValueError(
            f"{ENTRY} names the layer {mask.layer!r}, which this {type(model).__name__} does not have; load the model from the "
            "folder that was saved with this mask, or prune this model by prune_channels."
        )
    module: nn.Module = modules[mask.layer]
    first = next(module.parameters(), next(model.parameters(), None))
    keep = mask.keep if first is None else mask.keep.to(first.device)
    if not has_channel_mask(module):
        module.register_forward_hook(_masked, prepend=True)
    module.register_buffer(BUFFER, keep, persistent=False)
    setattr(module, _AXIS, mask.channel_axis)
    if getattr(model, "config", None) is not None:
        setattr(model.config, ENTRY, mask.to_dict())


def has_channel_mask(model: Any) -> bool:
    """Whether the output of a module, or of one inside it, is masked; not so for what is no module."""
    return isinstance(model, nn.Module) and any(_masked in module._forward_hooks.values() for module in model.modules())


def _masked(module: nn.Module, args: Any, output: Any) -> Any:
    # A function of this module, so that copies and pickles of the model have it.
    tensor, keep, axis = activation_of(output), module.get_buffer(BUFFER), getattr(module, _AXIS)
    if tensor.shape[axis] != len(keep):
        raise ValueError(
            f"the channel mask has {len(keep)} channels, but {type(module).__name__} puts out {tensor.shape[axis]} (shape "
            f"{tuple(tensor.shape)}, axis {axis}); load the model with the config.json that was saved with it."
        )
    shape = [1] * tensor.dim()
    shape[axis] = -1
    # Not a product: 0 times infinity would be NaN. Wherever the output is finite, it is the same.
    masked: Tensor = tensor.masked_fill(~keep.view(shape), 0)
    return with_activation(output, tensor, masked)
