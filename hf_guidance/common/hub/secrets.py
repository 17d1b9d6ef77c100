"""Secrets in files that are to be published, which everyone could read there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

Files = Mapping[str, str | os.PathLike[str] | bytes]

_NAMES = re.compile(r"(^|_)(token|secret|password|passwd|credentials|(api|access|secret|private)_?key)$", re.IGNORECASE)
_SHORTEST = 16  # a shorter text is no token, and may stand anywhere
_OF_SESSION = "your token, or another secret of this session"
_FORMS = {
    "a token of the Hub": re.compile(rb"(?<![A-Za-z0-9])(?:hf_|api_org_)[A-Za-z0-9]{30,}"),
    "a token of GitHub": re.compile(rb"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36}"),
    "a key of AWS": re.compile(rb"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
# How they begin: to look for these is fast, and needed before anything else.
_HEADS = (b"hf_", b"api_org_", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"AKIA", b"-----BEGIN ")
_WIDE_HEADS = tuple(head.decode().encode("utf-16-le") for head in _HEADS)
_PART, _OVERLAP = 1 << 20, 1 << 12  # bytes read at once, and of those before that are looked at again
_WEIGHTS = ".safetensors"
_LONGEST_HEAD = 100_000_000  # of safetensors


def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret: "hub_token", "WANDB_API_KEY"."""
    return _NAMES.search(name) is not None


def refuse_secrets(files: Files, *secrets: str | None) -> None:
    """Refuse files that hold a secret; see ``held_secrets``.

    Raises:
        ValueError: A file holds one; the message names the file, not the secret.
    """
    for name, kind in held_secrets(files, *secrets):
        found = kind if kind == _OF_SESSION else f"what looks like {kind}"
        raise ValueError(
            f"{name} holds {found}, which everyone could read there; remove the file, or write it again without the token. "
            "Nothing was published."
        )


def held_secrets(files: Files, *secrets: str | None) -> Iterator[tuple[str, str]]:
    """The names of files that hold a secret, as UTF-8 or UTF-16, and what it is in words.

    Searched for are the secrets given, those of this process (every token that huggingface_hub knows, variables of the
    environment named like a secret), and whatever has the form of a token of the Hub or of GitHub, of a key of AWS, or of a
    private key. Of safetensors the head is searched, which holds their text. What is compressed, as in .zip and .gz, is not
    unpacked.

    Args:
        files: Name to a path or the content.
        *secrets: Further texts to search for.
    """
    known = {given.strip() for given in (*secrets, *_of_process()) if given and len(given.strip()) >= _SHORTEST}
    needles = [secret.encode(encoding) for secret in known for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    for name, content in files.items():
        parts = [content] if isinstance(content, bytes) else _parts(Path(content))
        if found := next((kind for part in parts if (kind := _found(part, needles))), None):
            yield name, found


def _of_process() -> Iterator[str | None]:
    from huggingface_hub import get_token
    from huggingface_hub.utils import get_stored_tokens

    yield get_token()
    yield from get_stored_tokens().values()
    yield from (value for name, value in os.environ.items() if is_secret_name(name))


def _found(part: bytes, needles: Iterable[bytes]) -> str | None:
    if any(needle in part for needle in needles):
        return _OF_SESSION
    plain = part if any(head in part for head in _HEADS) else b""
    # The bytes of UTF-16 that are not zero are those of ASCII.
    wide = part.replace(b"\0", b"") if any(head in part for head in _WIDE_HEADS) else b""
    return next((kind for kind, form in _FORMS.items() if form.search(plain) or form.search(wide)), None)


def _parts(path: Path) -> Iterator[bytes]:
    """What of a file may hold text, in pieces that overlap."""
    left = _text_bytes(path)
    with path.open("rb") as file:
        before = b""
        for part in iter(partial(file.read, _PART), b""):
            part, left = part[:left], left - len(part)
            yield before + part
            before = part[-_OVERLAP:]
            if left <= 0:
                return


def _text_bytes(path: Path) -> int:
    size = path.stat().st_size
    if path.suffix != _WEIGHTS:
        return size
    with path.open("rb") as file:
        head = 8 + int.from_bytes(file.read(8), "little")
    return head if head <= min(size, _LONGEST_HEAD) else size
