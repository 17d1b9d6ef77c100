"""Loads pruned models, and refuses those whose configuration names pruned channels that the model still uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from transformers import AutoModelForImageClassification
from transformers.utils import CONFIG_NAME

from hf_guidance.common.text_files import read_json
from hf_guidance.models.channel_mask.entry import ENTRY, ChannelMask
from hf_guidance.models.channel_mask.hook import attach_channel_mask, has_channel_mask

Model = TypeVar("Model")


def load_pruned(
    name_or_path: str | os.PathLike[str], *, auto: Any = AutoModelForImageClassification, **options: Any
) -> Any:
    """Load a model with its channel mask; a model without one is loaded as it is.

    Args:
        name_or_path: Folder or Hub id.
        auto: An Auto class, or the class of the model.
        **options: As for ``from_pretrained``.

    Returns:
        The model, in eval mode, its pruned channels 0.

    Raises:
        ValueError: The mask in the configuration does not fit the model.
        OSError: There is no such model.

    Example:
        >>> model = load_pruned("org/pruned-resnet")
    """
    return with_channel_mask(auto.from_pretrained(name_or_path, **options))


def with_channel_mask(model: Model) -> Model:
    """Apply the channel mask that the configuration of a loaded model names; without one the model stays as it is.

    Args:
        model: The unwrapped model, as ``from_pretrained`` gives it; changed in place.

    Returns:
        The same model.

    Raises:
        ValueError: The mask does not fit the model.

    Example:
        >>> model = with_channel_mask(ConvNextForImageClassification.from_pretrained("org/pruned-convnext"))
    """
    plain = _entry(model)
    if plain is not None:
        attach_channel_mask(model, ChannelMask.from_dict(plain))
    return model


def refuse_unmasked(model: Any) -> None:
    """Refuse a model whose configuration names pruned channels, but which was loaded without its mask.

    Raises:
        ValueError: It is such a model; the message says how to load it.
    """
    if _entry(model) is not None and isinstance(model, nn.Module) and not has_channel_mask(model):
        raise ValueError(
            f"the configuration of this {type(model).__name__} names pruned channels ({ENTRY}), but the model was loaded "
            "without its mask, and would use them. Load it by hf_guidance.models.load_pruned(name), or call "
            "hf_guidance.models.with_channel_mask(model) after from_pretrained()."
        )


def refuse_other_mask(model: Any, folder: str | os.PathLike[str]) -> None:
    """Refuse to fill a model with the weights of one that was pruned otherwise; a folder without config.json passes.

    Args:
        model: The model in memory.
        folder: The folder of a checkpoint.

    Raises:
        ValueError: One has a channel mask and the other has not, or they differ.
    """
    file = Path(folder) / CONFIG_NAME
    saved = read_json(file) if file.is_file() else None
    if not isinstance(saved, dict):
        return
    own, there = _entry(model), saved.get(ENTRY)
    if own != there:
        raise ValueError(
            f"{folder} holds a model with {_pruned(there)}, but the model in memory has {_pruned(own)}"
            + (", others" if own and there and _pruned(own) == _pruned(there) else "")
            + ": build the model by hf_guidance.models.load_pruned, or give a checkpoint of the same pruning. Nothing was "
            "loaded."
        )


def _entry(model: Any) -> Any:
    return getattr(getattr(model, "config", None), ENTRY, None)


def _pruned(entry: Any) -> str:
    count = len(entry["pruned"]) if isinstance(entry, Mapping) and isinstance(entry.get("pruned"), list) else 0
    return f"{count} pruned channels" if entry is not None else "no pruned channels"
