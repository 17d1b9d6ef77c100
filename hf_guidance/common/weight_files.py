"""Which files a model is loaded from, and which of an earlier save would be loaded beside or instead of a later one's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

ADAPTER_CONFIG = "adapter_config.json"
BESIDE_ADAPTERS = "beside_adapters.safetensors"  # of training/checkpoint_adapters.py
_CONFIG = "config.json"
_ENDING = r"(-\d{5}-of-\d{5})?\.(safetensors|bin)(\.index\.json)?"
_WHOLE = re.compile(rf"(model|pytorch_model){_ENDING}")
_ADAPTERS = re.compile(rf"adapter_model{_ENDING}|{re.escape(ADAPTER_CONFIG)}|{re.escape(BESIDE_ADAPTERS)}")
_OF_RESUMING = re.compile(r"(optimizer|scheduler|scaler)\.(pt|bin)")


def left_over(there: Iterable[str], saved: Iterable[str], on_own_base: bool = False) -> list[str]:
    """The files of an earlier save that change what is loaded of a later one.

    transformers takes an adapter that lies beside whole weights into the model, one file before shards, and a configuration
    beside an adapter for that of a whole model. So where a save has brought weights into a folder, all others in that folder
    are left over, and the states of an optimizer that belong to them. Files of any other name stay.

    Args:
        there: Paths, with slashes, that are there.
        saved: Those of the later save, all of them.
        on_own_base: Whether the later save is an adapter of the whole weights that are there.

    Returns:
        Some of ``there``, sorted. Empty where nothing saved is a weight.
    """
    saved = set(saved)
    whole = {_folder(path) for path in saved if _WHOLE.fullmatch(_name(path))}
    adapters = {_folder(path) for path in saved if _ADAPTERS.fullmatch(_name(path))}
    found = []
    for path in sorted(set(there) - saved):
        folder, name = _folder(path), _name(path)
        if folder not in whole | adapters:
            continue
        of_whole = bool(_WHOLE.fullmatch(name)) or (name == _CONFIG and folder not in whole)
        if (of_whole and not on_own_base) or _ADAPTERS.fullmatch(name) or _OF_RESUMING.fullmatch(name):
            found.append(path)
    return found


def brings_weights(paths: Iterable[str]) -> bool:
    """Whether there are weights among files that are saved."""
    return any(_WHOLE.fullmatch(_name(path)) or _ADAPTERS.fullmatch(_name(path)) for path in paths)


def base_of(adapter_config: bytes) -> str | None:
    """The model that the text of an adapter_config.json names: a folder or an id of the Hub; None for none."""
    try:
        named = json.loads(adapter_config).get("base_model_name_or_path")
    except (ValueError, AttributeError):  # who loads the adapter hears of that
        return None
    return named if isinstance(named, str) else None


def is_same_place(base: str | None, folder: str | os.PathLike[str]) -> bool:
    """Whether the model that an adapter names lies in a folder."""
    return base is not None and os.path.realpath(base) == os.path.realpath(folder)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
