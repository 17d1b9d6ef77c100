"""guidance.json on the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hf_guidance.common.hub import create_repo, download_file, upload_files
from hf_guidance.guidance.document import MAX_BYTES, read_document

GUIDANCE_FILE = "guidance.json"


def fetch_document(
    source: str | os.PathLike[str], revision: str | None = None, token: str | bool | None = None
) -> dict[str, Any]:
    """Fetch the guidance.json of a folder or of a repo of the Hub, and check it.

    Raises:
        ValueError: There is none, or it is not one; see ``read_document``.
        PermissionError: The token may not read the repo.
        ConnectionError: The Hub, or the way to it, fails.
    """
    try:
        file = download_file(source, GUIDANCE_FILE, revision=revision, token=token, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:  # of a cache that someone empties meanwhile
        raise ConnectionError(f"{GUIDANCE_FILE} of {source} went away while it was read; try again.") from error
    return read_document(file)


def publish_text(
    text: str, repo_id: str, *, revision: str | None, token: str | bool | None, private: bool | None, message: str
) -> Any:
    """Put the text of a guidance.json into a repo of the Hub, which is made if there is none; nothing else changes.

    Raises:
        ValueError: The id is none, or there is no such revision.
        PermissionError: The token may not write.
        ConnectionError: The Hub, or the way to it, fails.
    """
    whole = create_repo(repo_id, private=private, token=token, revision=revision)
    return upload_files(whole, {GUIDANCE_FILE: text.encode()}, message=message, revision=revision, token=token)


def file_in(folder: str | Path) -> Path:
    """The guidance.json of a folder.

    Raises:
        ValueError: There is none.
    """
    file = Path(folder) / GUIDANCE_FILE
    if not file.is_file():
        raise ValueError(f"{file} does not exist; give the folder of a checkpoint that GuidedTrainer saved.")
    return file
