"""Files that go to a repo of the Hub as one commit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hf_guidance.common.hub.earlier_push import deletions, warn_of_local_base
from hf_guidance.common.hub.failures import NoSuchRepo
from hf_guidance.common.hub.retry import secret_of, with_retries
from hf_guidance.common.hub.secrets import refuse_secrets

logger = logging.getLogger(__name__)

_DRAFTS = (".draft-*", "*/.draft-*")  # of common/whole_file.py
_NEVER = (".git", ".git/*", "*/.git", "*/.git/*", ".cache/huggingface/*", "*/.cache/huggingface/*", *_DRAFTS)


def upload_files(
    repo_id: str,
    files: Mapping[str, str | os.PathLike[str] | bytes],
    *,
    message: str,
    revision: str | None = None,
    token: str | bool | None = None,
    kind: str = "model",
    secrets: Iterable[str] = (),
) -> Any:
    """Put files into a repo as one commit: all of them, or none.

    The commit comes last, after the contents of large files. Killed or refused before, the repo is as it was; the next call
    goes on where this one stopped. A commit whose answer was lost is not made twice. Other files of the repo stay, but for
    those that would change what is loaded: where weights are published, the same commit deletes other weights beside them,
    such as the adapters of an earlier push, and a warning names them. They stay in the history of the repo.

    Args:
        repo_id: As "organisation/name"; the repo must exist, see ``create_repo``.
        files: Path in the repo -> path on the disk, or the content.
        message: Message of the commit.
        revision: The branch; "main" by default.
        token: Token with the right to write; by default the one that the user is logged in with.
        kind: "model", "dataset" or "space".
        secrets: Texts that no file may hold, beside the tokens that are known; see ``refuse_secrets``.

    Returns:
        ``huggingface_hub.CommitInfo``; where nothing has changed, that of the latest commit.

    Raises:
        ValueError: No file is given or one of them holds a token; there is no such repo or revision; the server refuses the
            content.
        PermissionError: The token may not write (401, 403).
        ConnectionError: The server, or the way to it, fails, after four tries.

    Example:
        >>> upload_files("org/net", files_of("runs/net"), message="End of training")
    """
    if not files:
        raise ValueError(f"publishing to {repo_id}: no file is given.")
    refuse_secrets(files, secret_of(token), *secrets)
    warn_of_local_base(repo_id, files)
    from huggingface_hub import CommitOperationAdd, HfApi

    def commit() -> Any:
        # New operations in each try: they compare with what is in the repo by then.
        operations = [CommitOperationAdd(path, _as_given(content)) for path, content in sorted(files.items())]
        operations += deletions(repo_id, files, revision=revision, token=token, kind=kind)
        return HfApi().create_commit(
            repo_id, operations, commit_message=message, revision=revision, token=token, repo_type=kind
        )

    return with_retries(commit, f"publishing to {repo_id}", token)


def create_repo(
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    kind: str = "model",
    revision: str | None = None,
) -> str:
    """Make a repo unless it exists.

    Args:
        repo_id: As "organisation/name"; a name alone is that of the user.
        private: Whether only its owners see a new repo; by default as the organisation has it.
        token: Token with the right to write; by default the one that the user is logged in with.
        kind: "model", "dataset" or "space".
        revision: The branch that will be written. Where there is none of this name nothing is made, for a new repo has "main".

    Returns:
        The whole id.

    Raises:
        ValueError: The id is none, or there is no such revision.
        PermissionError: The token may not make it.
        ConnectionError: The server, or the way to it, fails, after four tries.
    """
    from huggingface_hub import HfApi

    if revision not in (None, "main"):
        _require_revision(repo_id, revision, token, kind)

    def create() -> str:
        made = HfApi().create_repo(repo_id, private=private, token=token, repo_type=kind, exist_ok=True)
        return str(made.repo_id)

    return with_retries(create, f"making the repo {repo_id}", token)


def _require_revision(repo_id: str, revision: str | None, token: str | bool | None, kind: str) -> None:
    from huggingface_hub import HfApi

    def look() -> None:
        whole = repo_id if "/" in repo_id else f"{HfApi().whoami(token=token)['name']}/{repo_id}"
        HfApi().repo_info(whole, revision=revision, repo_type=kind, token=token)

    try:
        with_retries(look, f"looking for the revision {revision!r} of {repo_id}", token)
    except NoSuchRepo:
        raise ValueError(
            f"{repo_id}: there is no such repo, and a new one has the branch 'main' alone, not {revision!r}; leave the "
            "revision out, or make the repo and the branch first. Nothing was made."
        ) from None


def files_of(folder: str | os.PathLike[str], ignore: Iterable[str] = ()) -> dict[str, Path]:
    """The files below a folder, by their path in it, without git's own and without drafts that a killed process left.

    A link to a place outside is left out with a warning: what lies there was not meant for others.

    Args:
        folder: The folder.
        ignore: Patterns of paths to leave out, as "checkpoint-*/*"; ``*`` goes over slashes, too.

    Raises:
        ValueError: There is no such folder, or it holds no file.
    """
    from huggingface_hub.utils import filter_repo_objects

    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; give the one that save_model or save_pretrained wrote.")
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    kept = list(filter_repo_objects(paths, ignore_patterns=[*_NEVER, *ignore]))
    outside = [path for path in kept if not (root / path).resolve().is_relative_to(root.resolve())]
    if outside:
        logger.warning(
            "%s: %s: links to other places are not published; copy the files there.", root, ", ".join(outside)
        )
    kept = [path for path in kept if path not in outside]
    if not kept:
        raise ValueError(f"{root} holds no file to publish.")
    return {path: root / path for path in kept}


def _as_given(content: str | os.PathLike[str] | bytes) -> str | bytes:
    return content if isinstance(content, bytes) else os.fspath(content)
