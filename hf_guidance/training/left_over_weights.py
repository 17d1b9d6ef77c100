"""Removes weights of an earlier save from the folder of a later one, where they would change what is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import (
    ADAPTER_SAFE_WEIGHTS_NAME,
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    logging,
)

from hf_guidance.common.weight_files import ADAPTER_CONFIG, BESIDE_ADAPTERS, base_of, is_same_place, left_over
from hf_guidance.training.checkpoint_adapters import saves_adapters
from hf_guidance.training.checkpoint_weights import shards_of

logger = logging.get_logger(__name__)


def remove_left_over(model: Any, folder: Path) -> None:
    """Delete what an earlier save left; a warning names it.

    Whole weights stay beside an adapter that was trained on them, as its configuration says.

    Args:
        model: The model that was saved.
        folder: Where, with its weights as safetensors, as Trainer writes them.
    """
    there = [path.name for path in folder.iterdir() if path.is_file()]
    config = folder / ADAPTER_CONFIG
    adapters = saves_adapters(model)
    on_own_base = adapters and config.is_file() and is_same_place(base_of(config.read_bytes()), folder)
    saved = (ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_CONFIG, BESIDE_ADAPTERS) if adapters else _whole(model, folder)
    names = left_over(there, [name for name in saved if name in there], on_own_base)
    for name in names:
        (folder / name).unlink()
    if names:
        logger.warning(
            f"{folder}: {', '.join(names)} of an earlier save were deleted, for they would change what is loaded from there. "
            "Give each model a folder of its own to keep both."
        )


def _whole(model: Any, folder: Path) -> list[str]:
    """The files of a whole model that was saved just now."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    # save_pretrained deletes the shards of an earlier save; without them an index is an earlier one, too.
    shards = shards_of(index) if isinstance(model, PreTrainedModel) and index.is_file() else []
    if shards and all((folder / shard).is_file() for shard in shards):
        return [CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, *shards]
    return [CONFIG_NAME, SAFE_WEIGHTS_NAME]
