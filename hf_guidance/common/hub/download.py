"""One file of a folder or of a repo on the Hub."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

from hf_guidance.common.hub.failures import NoSuchRepo
from hf_guidance.common.hub.retry import with_retries

logger = logging.getLogger(__name__)


def download_file(
    source: str | os.PathLike[str],
    filename: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    max_bytes: int | None = None,
    kind: str = "model",
) -> Path:
    """Find a file in a folder, or fetch it from a repo into the cache of huggingface_hub.

    A file of the Hub is compared with the checksum that the Hub names. Where the Hub cannot be reached, a copy in the cache is
    taken, with a warning.

    Args:
        source: A folder, or the id of a repo, as "organisation/name". A folder goes first.
        filename: Path of the file in it.
        revision: Branch, tag or commit of the repo; "main" by default. Not for a folder.
        token: Token of the Hub; by default the one that the user is logged in with. False sends none.
        max_bytes: The largest size allowed. The Hub is asked for the size first, and a larger file is not fetched.
        kind: "model", "dataset" or "space".

    Returns:
        Path of the file, which may lie in the cache: do not change it.

    Raises:
        ValueError: There is no such folder, repo, revision or file; the file is larger than allowed.
        PermissionError: The token may not read the repo (401, 403).
        ConnectionError: The server, or the way to it, fails, and the cache has no copy; the file arrives damaged.

    Example:
        >>> download_file("org/guided-resnet", "guidance.json", max_bytes=1_000_000)
    """
    folder = Path(source)
    if os.path.isdir(folder):  # False for a text that cannot be a path, where Path.is_dir raises
        if revision is not None:
            raise ValueError(f"{folder} is a folder, which has no revision {revision!r}; leave revision= out.")
        found = folder / filename
        if not found.is_file():
            raise ValueError(f"{found} does not exist.")
    else:
        found = _fetched(_Wanted(_repo_id(source), filename, revision, token, kind), max_bytes)
    _refuse_large(str(found), found.stat().st_size, max_bytes)
    return found


def _fetched(wanted: _Wanted, max_bytes: int | None) -> Path:
    try:
        return wanted.fetch(max_bytes)
    except NoSuchRepo as error:
        problem: Exception = ValueError(f"{error} {wanted.no_folder}")
    except PermissionError as error:  # without a token the Hub says so of a repo that does not exist, too
        problem = PermissionError(f"{error} {wanted.no_folder}")
    raise problem


class _Wanted:
    """A file of a repo."""

    def __init__(self, repo_id: str, filename: str, revision: str | None, token: str | bool | None, kind: str) -> None:
        self.place = {"repo_id": repo_id, "filename": filename, "repo_type": kind}
        self.revision, self.token = revision or "main", token
        at = "" if revision is None else f" at revision {revision!r}"
        self.no_folder = f"There is no folder {repo_id} here either."
        self.doing = f"downloading {filename} of the repo {repo_id}{at}"

    def fetch(self, max_bytes: int | None) -> Path:
        try:
            for again in (False, True):  # what lies in the cache may be damaged, too
                known = with_retries(self._ask, self.doing, self.token)
                if max_bytes is not None and known.size is None:
                    raise ValueError(
                        f"{self.doing}: the server does not say how large the file is; it may be too large."
                    )
                _refuse_large(self.doing, known.size or 0, max_bytes)
                path = with_retries(partial(self._load, again), self.doing, self.token)
                if _has_checksum(path, known.etag):
                    return path
                path.resolve().unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            raise ConnectionError(f"{self.doing}: the file arrives damaged, with another checksum; try again.")
        except ConnectionError as error:
            if (copy := self._cached()) is None:
                raise
            logger.warning("%s Using the copy in the cache, %s.", error, copy)
            return copy

    def _ask(self) -> Any:
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(**self.place, revision=self.revision)
        return get_hf_file_metadata(url, token=self.token, timeout=constants.HF_HUB_ETAG_TIMEOUT)

    def _load(self, anew: bool) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(**self.place, revision=self.revision, token=self.token, force_download=anew))

    def _cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(**self.place, revision=self.revision)
        return Path(found) if isinstance(found, str) else None


def _repo_id(source: str | os.PathLike[str]) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text := os.fspath(source))
    except HFValidationError:
        raise ValueError(
            f"{str(source)[:200]!r} is neither a folder nor the id of a repo on the Hub; give 'organisation/name'."
        ) from None
    return text


def _refuse_large(what: str, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise ValueError(f"{what}: the file has {size:,} bytes; at most {most:,} are read.")


def _has_checksum(path: Path, etag: str | None) -> bool:
    """Whether a file has the checksum of its etag, as far as it is known to be one.

    The Hub gives git's checksum of small files and the sha256 of large ones; a mirror may give the plain sha1.
    """
    if etag is None or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", etag):
        return True
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digests = [hashlib.sha256()] if len(etag) == 64 else [git, hashlib.sha1(usedforsecurity=False)]
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            for digest in digests:
                digest.update(part)
    return etag in [digest.hexdigest() for digest in digests]
