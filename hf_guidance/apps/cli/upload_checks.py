"""Checks of a folder before it is published: a whole checkpoint, files that can be read, no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from yaml import YAMLError

from hf_guidance.apps.cli.output import say
from hf_guidance.common.hub.secrets import held_secrets
from hf_guidance.common.text_files import read_json, read_text
from hf_guidance.guidance import GUIDANCE_FILE, Guidance
from hf_guidance.guidance.document import read_document
from hf_guidance.guidance.serialization import known_names
from hf_guidance.training.checkpoint_weights import shards_of

CARD = "README.md"
_WEIGHTS = ".safetensors"


def check_whole(folder: Path, files: Mapping[str, int], left_out: Mapping[str, tuple[int, str]]) -> None:
    """Refuse a folder that is no whole checkpoint.

    Args:
        folder: The folder.
        files: What of it is published.
        left_out: What is not, with its size and the reason.

    Raises:
        ValueError: No configuration or no weights, or weights that are cut short.
    """
    adapter = "adapter_config.json" in files
    stem, config = ("adapter_model", "adapter_config.json") if adapter else ("model", "config.json")
    index = f"{stem}{_WEIGHTS}.index.json"
    for name in (config, index, f"{stem}{_WEIGHTS}"):
        if name in left_out:  # as in the cache of the Hub, where all files are links
            raise ValueError(
                f"{folder / name} is {left_out[name][1]}, and is not published; copy the file itself there."
            )
    if config not in files:
        inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise ValueError(
            f"{folder} has no config.json, so it is no model"
            + (f"; give one of its folders, as {folder / inside[-1]}." if inside else ".")
        )
    if index in files:
        shards = shards_of(folder / index)
    elif f"{stem}{_WEIGHTS}" in files:
        shards = [f"{stem}{_WEIGHTS}"]
    else:
        pickles = sorted(path.name for path in folder.glob("*.bin") if path.name != "training_args.bin")
        raise ValueError(
            f"{folder} has no weights ({stem}{_WEIGHTS})"
            + (
                f", only {', '.join(pickles)}, which are pickles: load and save the model once more, by save_pretrained."
                if pickles
                else "; was the training cut off before it saved them?"
            )
        )
    for shard in shards:
        if shard not in files:
            why = f" (it is {left_out[shard][1]})" if shard in left_out else ""
            raise ValueError(f"{folder} lacks {shard}{why}, which {index} names: the checkpoint is not whole.")
        _check_tensors(folder / shard)


def check_documents(folder: Path, files: Iterable[str]) -> None:
    """Refuse configurations, a guidance or a card that nobody could read.

    Args:
        folder: The folder.
        files: What of it is published.

    Raises:
        ValueError: JSON that is not well-formed, a configuration that holds no fields, a guidance.json that ``Guidance`` does
            not read, or a README.md whose head is no YAML.
    """
    for name in files:
        if name == GUIDANCE_FILE:
            _check_guidance(folder / name)
        elif name.endswith(".json"):
            found = read_json(folder / name)
            if name.endswith("config.json") and not isinstance(found, dict):
                raise ValueError(
                    f"{folder / name} holds no fields with values, as a configuration does. Save the model anew."
                )
        elif name == CARD:
            _check_card(folder / name)


def _check_guidance(file: Path) -> None:
    document = read_document(file)
    try:
        Guidance.from_dict(document)
    except ValueError as error:
        types: list[Any] = []
        json.loads(json.dumps(document), object_hook=lambda found: types.append(found.get("type")))
        others = {name for name in types if isinstance(name, str)} - known_names().keys() - {"Term", "TrainerTask"}
        if not others:
            raise ValueError(f"{file} cannot be read: {error}") from error
        say(
            f"{file} names {', '.join(sorted(others))}, not of this library; readers need Guidance.from_pretrained(types=...)"
        )


def _check_card(file: Path) -> None:
    text = read_text(file)
    try:
        ModelCard(text)
    except (ValueError, YAMLError) as error:
        raise ValueError(
            f"the head of {file}, between the lines of ---, is nothing that the Hub reads ({' '.join(str(error).split())}). "
            "Mend or remove it."
        ) from error


def _check_tensors(file: Path) -> None:
    """The head of a safetensors file says how long the file is."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        try:
            head = json.loads(opened.read(min(length, 100_000_000)))
            ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is no safetensors file: its head cannot be read.") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ValueError(f"{file} has {size} bytes, and its head tells of {expected}: it is not whole. Save it anew.")


def refuse_keys(files: Mapping[str, Path]) -> None:
    """Refuse files that hold a token or a private key.

    Args:
        files: What errors call a file, and where it is.

    Raises:
        ValueError: One holds one.
    """
    for name, kind in held_secrets(files):
        raise ValueError(f"{name} holds {kind}: take it out, and withdraw it, for others may have seen it.")
