"""Sends the files of an upload plan to the Hub as one commit, for ``hf-guidance publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_guidance.apps.cli.application import refuse
from hf_guidance.apps.cli.upload_checks import CARD
from hf_guidance.apps.cli.upload_plan import UploadPlan
from hf_guidance.common.hub import create_repo, upload_files
from hf_guidance.common.hub.earlier_push import deletions
from hf_guidance.common.hub.failures import told
from hf_guidance.common.hub.retry import secret_of, with_retries
from hf_guidance.common.hub.secrets import refuse_secrets
from hf_guidance.common.text_files import read_text
from hf_guidance.guidance import GUIDANCE_FILE
from hf_guidance.guidance.document import read_document


def checked_repo(name: str) -> str:
    """Refuse what cannot be the name of a repository.

    Args:
        name: As "organisation/name", or the name alone of one of your own.

    Returns:
        The name.

    Raises:
        typer.BadParameter: It cannot be one.
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        refuse(f"{name!r} is no name of a repository; give organisation/name.", "REPO")
    return name


def card_of(plan: UploadPlan) -> str:
    """The model card: README.md of the folder, or a short one where there is none.

    Args:
        plan: What is published.

    Returns:
        Its text.
    """
    if CARD in plan.files:
        return read_text(plan.folder / CARD)
    data = ModelCardData(library_name="transformers", tags=["hf_guidance", "attribution-guidance"])
    lines = [f"---\n{data.to_yaml()}\n---", "", f"# {plan.folder.resolve().name}", ""]
    if GUIDANCE_FILE in plan.files:
        terms = read_document(plan.folder / GUIDANCE_FILE)
        names = ", ".join(name for name, term in terms.items() if name != "task" and isinstance(term, dict)) or "none"
        lines.append(f"Trained with hf_guidance; its terms beside the task: {names} ({GUIDANCE_FILE}).")
    return str(ModelCard("\n".join([*lines, ""])))


def published(
    plan: UploadPlan, repo: str, card: str, *, private: bool, revision: str | None, create_pr: bool, message: str
) -> str:
    """Send the files as one commit.

    Args:
        plan: What is published.
        repo: Its repository, which is made if it is new.
        card: The model card.
        private: Whether a new repository is private.
        revision: Branch, made if it is new; None for "main".
        create_pr: Open a pull request instead.
        message: Of the commit.

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        ValueError: A file holds the token, or the server refuses the content.
        PermissionError: The token may not write.
        ConnectionError: The Hub cannot be reached.
    """
    files: dict[str, Path | bytes] = {name: plan.folder / name for name in plan.files}
    if CARD not in files:
        files[CARD] = card.encode()
    whole = create_repo(repo, private=private or None)
    if create_pr:
        return str(_pull_request(whole, files, message).pr_url)
    if revision is not None:
        with_retries(
            lambda: HfApi().create_branch(whole, branch=revision, exist_ok=True),
            f"making the branch {revision} of {whole}",
        )
    return str(upload_files(whole, files, message=message, revision=revision).commit_url)


def _pull_request(repo: str, files: dict[str, Path | bytes], message: str) -> Any:
    # One try: made again after an answer that was lost, there would be two.
    refuse_secrets(files, secret_of(None))
    operations: list[Any] = [
        CommitOperationAdd(name, str(file) if isinstance(file, Path) else file) for name, file in files.items()
    ]
    try:
        operations += deletions(repo, files)
        return HfApi().create_commit(repo, operations, commit_message=message, create_pr=True)
    except Exception as error:
        problem = told(error, f"opening a pull request at {repo}", secret_of(None))
    raise problem
