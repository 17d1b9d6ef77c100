"""ChannelMask: which channels of which layer are pruned, as it stands in the model's configuration."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ENTRY = "channel_mask"
"""Name of the field of the configuration."""
_SHOWN = 8  # indices in an error message


@dataclass(frozen=True)
class ChannelMask:
    """Channels of one layer that are 0 in every call of the model.

    In config.json it is the field ``channel_mask``, an object with the fields below, so that anyone sees which channels are
    missing.

    Attributes:
        layer: Path of the module whose output is masked.
        channels: Number of channels of that output.
        pruned: Indices of the channels that are 0, in increasing order.
        channel_axis: 1 or -1, where the channels are, as in ``Layout``.

    Raises:
        ValueError: An index is no channel or there twice, all channels are pruned, or another axis.

    Example:
        >>> ChannelMask("resnet.encoder.stages.3", channels=2048, pruned=(3, 17))
    """

    layer: str
    channels: int
    pruned: tuple[int, ...]
    channel_axis: int = 1

    def __post_init__(self) -> None:
        wrong = [index for index in self.pruned if not _is_index(index, self.channels)]
        if wrong:
            raise ValueError(
                f"{ENTRY}: pruned names {wrong[:_SHOWN]}, but {self.layer!r} has {self.channels} channels; give whole numbers "
                f"from 0 to {self.channels - 1}."
            )
        pruned = tuple(sorted(operator.index(index) for index in self.pruned))
        if len(set(pruned)) < len(pruned):
            raise ValueError(f"{ENTRY}: pruned names a channel twice; give every pruned channel once.")
        if len(pruned) == self.channels:
            raise ValueError(
                f"{ENTRY}: all {self.channels} channels of {self.layer!r} are pruned, so that the model would answer every "
                "image alike; keep at least one."
            )
        if self.channel_axis not in (1, -1):
            raise ValueError(f"{ENTRY}: channel_axis={self.channel_axis!r}; give 1, or -1 for channels last.")
        object.__setattr__(self, "pruned", pruned)

    @property
    def keep(self) -> Tensor:
        """(channels,) bool, True for channels that stay."""
        kept = torch.ones(self.channels, dtype=torch.bool)
        kept[list(self.pruned)] = False
        return kept

    def to_dict(self) -> dict[str, Any]:
        """The plain form that stands in config.json."""
        return {
            "layer": self.layer,
            "channels": self.channels,
            "channel_axis": self.channel_axis,
            "pruned": list(self.pruned),
        }

    @classmethod
    def from_dict(cls, plain: Any) -> ChannelMask:
        """The mask of a plain form.

        Raises:
            ValueError: Fields are missing, unknown or of another kind.
        """
        fields = {"layer": str, "channels": int, "channel_axis": int, "pruned": list}
        given = dict(plain) if isinstance(plain, Mapping) else {}
        if given.keys() != fields.keys() or not all(isinstance(given[name], kind) for name, kind in fields.items()):
            raise ValueError(
                f"{ENTRY} of the configuration is {_short(plain)}; it must have {list(fields)}, as prune_channels writes it. "
                "Take config.json as it was saved."
            )
        return cls(given["layer"], given["channels"], tuple(given["pruned"]), given["channel_axis"])


def checked_mask(mask: Tensor | Iterable[Any], channels: int, layer: str) -> Tensor:
    """A mask that someone gives, as (channels,) bool: True for channels that stay.

    Args:
        mask: One value per channel: bool, or the numbers 0 and 1.
        channels: Number of channels of the layer.
        layer: Path of the layer, for the message.

    Raises:
        ValueError: It has another width, other values, or prunes all channels.
    """
    try:
        values = torch.as_tensor(mask if isinstance(mask, Tensor) else list(mask)).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the channel mask is no list of 0 and 1, True and False ({error}); give one value per channel."
        ) from None
    if tuple(values.shape) != (channels,):
        raise ValueError(
            f"the channel mask has shape {tuple(values.shape)}, but {layer!r} has {channels} channels: give one value per "
            "channel of this layer. Was the mask made for another model?"
        )
    odd = values[(values != 0) & (values != 1)]
    if len(odd):
        raise ValueError(
            f"the channel mask holds {odd[:_SHOWN].tolist()}; every value must be 1 (or True) to keep a channel, or 0 (or "
            "False) to prune it."
        )
    if not values.any():
        raise ValueError(
            f"the channel mask prunes all {channels} channels of {layer!r}, so that the model would answer every image alike; "
            "keep at least one."
        )
    return values.bool()


def _is_index(value: Any, channels: int) -> bool:
    try:
        return not isinstance(value, bool) and 0 <= operator.index(value) < channels
    except TypeError:
        return False


def _short(plain: Any) -> str:
    text = repr(plain)
    return text if len(text) <= 120 else f"{text[:120]}..."
