"""Loads the weights of a checkpoint into a model: all of them, or an error that names the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from hf_guidance.common.text_files import read_json

_SHOWN = 8  # names of tensors in an error message


def load_weights(model: nn.Module, folder: str | Path) -> None:
    """Load what ``save_pretrained`` or a Trainer wrote, one file or shards, safetensors or .bin; copies, dtypes stay.

    transformers writes some architectures (ViT, DeiT, Swin and others) under the names of earlier versions. The names are
    converted as ``from_pretrained`` does. Nothing is copied unless every parameter and buffer of the model has its tensor.

    Args:
        model: The model that is filled in place; its adapters are not looked at.
        folder: The folder with the weights.

    Raises:
        ValueError: The folder holds no weights, or a damaged file; tensors of the model are missing, left over, or of another
            shape.
    """
    saved = read_weights(folder)
    if not saved:
        raise ValueError(f"{folder} holds no weights: give the folder of a checkpoint, or of a saved model.")
    found = _Found(saved) if _names_are_kept(model, saved) else _converted(model, saved, folder)
    _check_complete(model, found, folder)
    model.load_state_dict(found.tensors, strict=False)  # checked above; the names left out are tied to others


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """Read the weights of a folder under the names they were written; empty where there are none."""
    for single, index in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        if (file := Path(folder) / single).is_file():
            return _read(file)
        if (file := Path(folder) / index).is_file():
            shards = shards_of(file)
            return {name: value for shard in shards for name, value in _read(file.with_name(shard)).items()}
    return {}


def shards_of(index: Path) -> list[str]:
    """The files that an index of shards names.

    Raises:
        ValueError: It names none.
    """
    names = read_json(index)
    names = names.get("weight_map") if isinstance(names, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{index} has no weight_map that says which file holds which weights; save the model again.")
    return sorted(set(names.values()))


@dataclass(frozen=True)
class _Found:
    tensors: Mapping[str, Tensor]  # by the names in memory
    left_over: Collection[str] = ()  # names that conversion gives, but no parameter has
    of_another_shape: Mapping[str, str] = field(default_factory=dict)  # those, in words


def _check_complete(model: nn.Module, found: _Found, folder: str | Path) -> None:
    own = model.state_dict(keep_vars=True)  # tied parameters are then the same object
    filled = {id(own[name]) for name in (*found.tensors, *found.of_another_shape) if name in own}
    never_saved = getattr(model, "_keys_to_ignore_on_save", None) or ()  # fixed tables, as of positions
    filled |= {id(own[name]) for name in never_saved if name in own and not own[name].requires_grad}
    shapes = {
        name: _differ(name, value.shape, own[name].shape)
        for name, value in found.tensors.items()
        if isinstance(own.get(name), Tensor) and own[name].shape != value.shape
    }
    wrong = {
        "missing": [name for name in own if id(own[name]) not in filled],
        "left over": [*found.left_over, *(found.tensors.keys() - own.keys())],
        "of another shape": [*found.of_another_shape.values(), *shapes.values()],
    }
    told = [f"{kind}: {shown(names)}" for kind, names in wrong.items() if names]
    if told:
        raise ValueError(
            f"{folder} does not hold the weights of this {type(model).__name__}; {'; '.join(told)}. Nothing was loaded. Build "
            "the model as the one that was saved (class, config, head), or start anew from from_pretrained()."
        )


def shown(names: Iterable[str]) -> str:
    """Names for an error message, the first few of many."""
    names = sorted(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{names[:_SHOWN]}{more}"


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        read: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{file} is damaged or cut off ({reason}): take another checkpoint, or fetch the file again. Nothing was loaded."
        ) from error
    return read


def _names_are_kept(model: nn.Module, saved: Mapping[str, Tensor]) -> bool:
    """Whether the file has the names of the model, and no conversion could change what stands under them."""
    if not isinstance(model, PreTrainedModel):
        return True
    return not get_model_conversion_mapping(model, add_legacy=False) and saved.keys() <= model.state_dict().keys()


def _converted(model: Any, saved: Mapping[str, Tensor], folder: str | Path) -> _Found:
    """What a new model of the class and config holds that ``from_pretrained`` fills."""
    # The widest dtype holds all values exactly; the model narrows them to its own dtypes, from which they were written.
    dtypes = [value.dtype for value in saved.values() if value.is_floating_point()] or [torch.float32]
    with torch.random.fork_rng():  # what is missing is drawn
        try:
            fresh, info = type(model).from_pretrained(
                None, config=model.config, state_dict=dict(saved), dtype=reduce(torch.promote_types, dtypes),
                ignore_mismatched_sizes=True, output_loading_info=True,
            )  # fmt: skip
        except TypeError as error:
            raise ValueError(
                f"{folder} has other names than the model in memory, and {type(model).__name__} cannot be built of its config "
                "alone to convert them: give its other arguments defaults, or put them into the config."
            ) from error
    shapes = {name: _differ(name, *sizes) for name, *sizes in info["mismatched_keys"]}
    unexpected, unfilled = {*info["unexpected_keys"]}, {*info["missing_keys"], *shapes}
    tensors = {name: value for name, value in fresh.state_dict().items() if name not in unfilled}
    # A part that was replaced after building, as a head, is not in the new model, but its names are never converted.
    tensors |= {name: saved[name] for name in (unexpected | unfilled) & saved.keys()}
    return _Found(tensors, unexpected - saved.keys(), {name: shapes[name] for name in shapes.keys() - saved.keys()})


def _differ(name: str, given: Iterable[int], wanted: Iterable[int]) -> str:
    return f"{name} {tuple(given)} for {tuple(wanted)}"
