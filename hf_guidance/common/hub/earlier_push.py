"""What a push does beside its files: weights of an earlier push go, and a base model that nobody else has is told."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_guidance.common.weight_files import ADAPTER_CONFIG, base_of, brings_weights, left_over

logger = logging.getLogger(__name__)

Files = Mapping[str, str | os.PathLike[str] | bytes]


def deletions(
    repo_id: str, files: Files, *, revision: str | None = None, token: str | bool | None = None, kind: str = "model"
) -> list[Any]:
    """The operations of a commit that delete what would change what is loaded of the files; see ``left_over``.

    Args:
        repo_id: As "organisation/name".
        files: What the commit brings.
        revision: The branch; "main" by default.
        token: By default the one that the user is logged in with.
        kind: "model", "dataset" or "space".

    Returns:
        ``huggingface_hub.CommitOperationDelete`` for each; a warning names them.
    """
    if not brings_weights(files):
        return []
    from huggingface_hub import CommitOperationDelete, HfApi

    there = HfApi().list_repo_files(repo_id, revision=revision, repo_type=kind, token=token)
    names = left_over(there, files, on_own_base=_base(files) == repo_id)
    if names:
        logger.warning("publishing to %s: %s of an earlier push are deleted.", repo_id, ", ".join(names))
    return [CommitOperationDelete(name) for name in names]


def warn_of_local_base(repo_id: str, files: Files) -> None:
    """Warn where an adapter names a folder of this machine as the model that it belongs to."""
    base = _base(files)
    if base is not None and os.path.isdir(base):
        logger.warning(
            "publishing to %s: %s names a folder of this machine as the base model, %s, where others find nothing. Publish the "
            "base model, set base_model_name_or_path in the model's peft_config to its id, and publish the adapter again.",
            repo_id, ADAPTER_CONFIG, base,
        )  # fmt: skip


def _base(files: Files) -> str | None:
    config = files.get(ADAPTER_CONFIG)
    return None if config is None else base_of(config if isinstance(config, bytes) else Path(config).read_bytes())
