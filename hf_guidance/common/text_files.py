"""Text and JSON files of anyone: read, or refused by a ValueError that names the file."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, without the byte order mark of some editors.

    Raises:
        ValueError: It is not UTF-8.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None


def read_json(path: str | os.PathLike[str], unique_keys: bool = False) -> Any:
    """The content of a JSON file.

    Args:
        path: The file, in UTF-8, UTF-16 or UTF-32, with or without byte order mark.
        unique_keys: Refuse an object with a key twice, of which JSON keeps the last: for files whose keys are ids.

    Raises:
        ValueError: It is not well-formed, or nested deeper than Python reads.
    """
    try:
        with open(path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=_unique if unique_keys else None)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except RecursionError:
        raise ValueError(f"{path}: its lists and objects lie too deep in each other. Write the file again.") from None
    except ValueError as error:
        raise ValueError(f"{path}: this is not well-formed JSON ({error}). Write the file again.") from None


def _not_utf8(path: str | os.PathLike[str], error: UnicodeDecodeError) -> ValueError:
    return ValueError(f"{path}: this is not UTF-8 ({error}). Save it as UTF-8.")


def doubled_key(pairs: list[tuple[str, Any]]) -> str | None:
    """A key that an object of JSON has more than once; None where there is none."""
    if len(dict(pairs)) == len(pairs):
        return None
    return Counter(key for key, _ in pairs).most_common(1)[0][0]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := doubled_key(pairs)) is not None:
        raise ValueError(f"the key {twice!r} is there twice")
    return dict(pairs)
