"""Where a model comes from: ids of the Hub, and only those. A path of this machine means nothing to others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, try_to_load_from_cache
from transformers.utils import logging

from hf_guidance.common.text_files import read_json

logger = logging.get_logger(__name__)

_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
_SNAPSHOT = re.compile(r"models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\]", re.ASCII)


def is_hub_id(text: Any) -> bool:
    """Whether a text is an id ``owner/name`` of the Hub, and not a path.

    A folder of this machine, or of one of its names, is taken for a path.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text) or ".." in text or "--" in text:
        return False
    owner, name = text.split("/")
    if (
        len(text) > 96
        or name.startswith("checkpoint-")
        or name.endswith((".git", "-", "."))
        or owner.endswith(("-", "."))
    ):
        return False
    return not (Path(text).exists() or Path(owner).is_dir())


def base_model(model: Any, given: str | None) -> str | None:
    """The Hub id of the model that training began with; None where it is unknown, or is no id.

    Args:
        model: The unwrapped model.
        given: What the user names.
    """
    if given is not None:
        return given if is_hub_id(given) else None
    configs = getattr(model, "peft_config", None)
    adapter = next(iter(configs.values())) if isinstance(configs, dict) and configs else None
    names = (
        getattr(adapter, "base_model_name_or_path", None),
        getattr(getattr(model, "config", None), "_name_or_path", None),
    )
    found = (_id_behind(str(name)) for name in names if name)
    return next((name for name in found if name), None)


def _id_behind(name: str) -> str | None:
    """The id itself, or that which a local folder names: as a copy of the Hub's, in its card, or in its config."""
    if is_hub_id(name):
        return name
    if copy := _SNAPSHOT.search(f"{name}/"):
        return "/".join(copy.groups())
    folder = Path(name)
    if not folder.is_dir():
        return None
    named = [card_data(folder / "README.md").get("base_model")]
    config = folder / "config.json"
    if config.is_file():
        try:
            named.append(read_json(config).get("_name_or_path"))
        except (ValueError, AttributeError, OSError):
            logger.warning(f"{config} cannot be read, so the card does not name the model behind it.")
    return next((text for text in named if is_hub_id(text)), None)


def licence_of(base: str | None) -> str | None:
    """The licence that the base model's card in the local cache names; nothing is downloaded."""
    file = try_to_load_from_cache(base, "README.md") if base else None
    licence = card_data(Path(file)).get("license") if isinstance(file, str) else None
    return licence if isinstance(licence, str) else None


def card_data(file: Path) -> dict[str, Any]:
    """The metadata of a README.md; empty where there is none or it cannot be read."""
    if not file.is_file():
        return {}
    try:
        data: dict[str, Any] = ModelCard.load(file, ignore_metadata_errors=True).data.to_dict()
    except Exception as error:  # of YAML, of huggingface_hub, of the file: someone else's card must not end a run
        logger.warning(f"{file}: its metadata cannot be read ({type(error).__name__}), and is left out.")
        return {}
    return data
