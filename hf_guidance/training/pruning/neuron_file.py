"""The file of the paper that says which neurons stay: a JSON list of booleans."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file


def read_neurons(path: str | os.PathLike[str], channels: int | None = None) -> Tensor:
    """Read which neurons stay, as the released CRAYON files say: one of 2,048 booleans per channel, true to keep.

    Args:
        path: The JSON file.
        channels: Number of channels that it must have; None for any.

    Returns:
        (channels,) bool, True for channels that stay.

    Raises:
        ValueError: The file is cut short, holds anything but booleans, or is for another number of channels.

    Example:
        >>> keep = read_neurons("neuron_annotations.json", channels=2048)
    """
    plain = read_json(path)
    name = os.fspath(path)
    if not isinstance(plain, list) or not plain:
        raise ValueError(f"{name} holds {type(plain).__name__}, not a list of neurons; it must be [true, false, ...].")
    odd = [(index, value) for index, value in enumerate(plain) if not isinstance(value, bool)]
    if odd:
        raise ValueError(
            f"{name}: neuron {odd[0][0]} is {odd[0][1]!r}, and {len(odd)} of {len(plain)} entries are no booleans; write true "
            "to keep a neuron, and false to prune it."
        )
    if channels is not None and len(plain) != channels:
        raise ValueError(
            f"{name} is about {len(plain)} neurons, but {channels} are wanted; is it for another model, or cut short?"
        )
    return torch.tensor(plain)


def write_neurons(path: str | os.PathLike[str], keep: Tensor | Iterable[Any]) -> None:
    """Write which neurons stay, in the form that ``read_neurons`` and the released code read; complete or absent.

    Args:
        path: The JSON file.
        keep: (channels,) bool.

    Raises:
        ValueError: Other values than booleans.
    """
    values = keep.tolist() if isinstance(keep, Tensor) else list(keep)
    if not values or not all(isinstance(value, bool) for value in values):
        raise ValueError("keep must hold one True or False per channel, as neuron_votes gives it.")
    with whole_file(os.fspath(path)) as draft:
        draft.write_text(json.dumps(values) + "\n", encoding="utf-8")
