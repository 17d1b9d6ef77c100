"""Channel mask: channels of one layer that a model puts out as 0, part of the model and written in its configuration."""

from hf_guidance.models.channel_mask.entry import ChannelMask
from hf_guidance.models.channel_mask.hook import attach_channel_mask, has_channel_mask
from hf_guidance.models.channel_mask.loading import (
    load_pruned,
    refuse_other_mask,
    refuse_unmasked,
    with_channel_mask,
)

__all__ = [
    "ChannelMask",
    "attach_channel_mask",
    "has_channel_mask",
    "load_pruned",
    "refuse_other_mask",
    "refuse_unmasked",
    "with_channel_mask",
]
