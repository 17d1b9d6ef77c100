"""What goes wrong in a transfer: whether another try may help, and the error that says it without the token.

Three kinds of error leave this folder: ValueError for what was asked wrongly (no such repo, revision or file), PermissionError
for what the token may not do, ConnectionError for what may work later. Others, such as a full disk, pass as they are.
"""

from __future__ import annotations

from typing import Any

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_SHOWN = 300  # characters of what the server says


class NoSuchRepo(ValueError):
    """There is no repo of this name, as far as the token may see."""


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later: a busy or broken server, no answer in time, a connection that broke off."""
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    error = root_of(error)
    if isinstance(error, OfflineModeIsEnabled):
        return False
    status = status_of(error)
    if status is not None:
        return status in _TRANSIENT
    return (
        isinstance(error, HTTPError | ConnectionError | TimeoutError) or _is_cut_short(error) or _is_of_storage(error)
    )


def pause_asked(error: BaseException) -> float | None:
    """The seconds that the server asks to wait, None where it does not."""
    headers = getattr(getattr(root_of(error), "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:  # none, or a date
        return None


def status_of(error: BaseException) -> int | None:
    """The status of the answer that an error is about, None where there was no answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def root_of(error: BaseException) -> BaseException:
    """The error of the request behind one that only says that a file was not transferred."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    while error.__cause__ is not None and isinstance(error, RuntimeError | LocalEntryNotFoundError):
        error = error.__cause__
    return error


def told(error: BaseException, doing: str, secret: str | None = None) -> BaseException:
    """The error to raise in the place of one of huggingface_hub.

    Args:
        error: What was caught.
        doing: What was tried, as "downloading guidance.json of the repo org/repo".
        secret: The token, which is cut out of what the server says.

    Returns:
        ValueError, PermissionError or ConnectionError; ``error`` itself where it is not about the transfer.
    """
    from huggingface_hub import errors

    root = root_of(error)
    status = status_of(root)
    if isinstance(root, errors.OfflineModeIsEnabled):
        return ConnectionError(
            f"{doing}: HF_HUB_OFFLINE=1 is set, so nothing is asked of the Hub; unset it, or give a folder."
        )
    if isinstance(root, errors.HFValidationError):
        return ValueError(f"{doing}: {_safe(root, secret)} Give 'organisation/name'.")
    if status in (401, 403) or isinstance(root, errors.GatedRepoError):
        return PermissionError(f"{doing}: {_refused(root, status)}")
    if isinstance(root, errors.RevisionNotFoundError):
        return ValueError(f"{doing}: the repo has no such revision; give a branch, a tag or the id of a commit.")
    if isinstance(root, errors.EntryNotFoundError):
        return ValueError(f"{doing}: the repo has no such file.")
    if isinstance(root, errors.RepositoryNotFoundError):
        return NoSuchRepo(
            f"{doing}: there is no such repo (404), or it is private and no token that may read it was given; check the "
            "spelling, log in by `hf auth login`, or pass token=."
        )
    if status in _TRANSIENT:
        return ConnectionError(f"{doing}: the server answered {status} ({_said(root, secret)}); try again later.")
    if status is not None:
        return ValueError(f"{doing}: the server refused it ({status}): {_said(root, secret)}")
    if _is_of_storage(root):
        return ConnectionError(f"{doing}: the storage of the Hub failed ({_safe(root, secret)}); try again later.")
    if isinstance(root, errors.HTTPError | ConnectionError | TimeoutError) or _is_cut_short(root):
        return ConnectionError(f"{doing}: {_broken(root)}; look at the connection and try again.")
    return error


def without(secret: str | None, text: str) -> str:
    """The text without a token."""
    return text.replace(secret, "<token>") if secret else text


def _refused(error: BaseException, status: int | None) -> str:
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error, GatedRepoError):
        return "access to this repo must be asked for on its page; then log in by `hf auth login`, or pass token=."
    if status == 401:
        return (
            "refused (401): no valid token was given, and the repo is private, does not exist, or is to be written; log in by "
            "`hf auth login`, or pass token=."
        )
    return "refused (403): the token may not do this; take one that may, for publishing with the right to write to this repo."


def _broken(error: BaseException) -> str:
    if _is_cut_short(error):
        return "the file arrived cut short"
    slow = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
    return "no answer in time" if slow else f"the connection failed ({type(error).__name__})"


def _is_cut_short(error: BaseException) -> bool:
    # huggingface_hub raises a plain OSError; those of the file system have a number.
    return type(error) is OSError and error.errno is None and "Consistency check" in str(error)


def _is_of_storage(error: BaseException) -> bool:
    return (
        type(error) is RuntimeError or type(error).__name__ == "XetDownloadError"
    )  # of hf_xet, which names no other kind


def _said(error: Any, secret: str | None) -> str:
    return _safe(getattr(error, "server_message", None) or type(error).__name__, secret)


def _safe(text: object, secret: str | None) -> str:
    line = " ".join(without(secret, str(text)).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
