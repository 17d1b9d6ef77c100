"""The text of guidance.json: what is read of it, whoever wrote it, and what is refused before anything is built of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_guidance.common.text_files import doubled_key

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_TERMS = 100
MAX_VALUES = 100_000
FORMAT = 1
FORMAT_FIELD = "format_version"
UPGRADE = "If the file was written by a newer version, `pip install -U hf-guidance`."
_LARGEST = 2**53  # up to which all whole numbers are floats, too
_SHOWN = 120


def read_document(file: Path) -> dict[str, Any]:
    """Read and check a guidance.json, see ``check_document``.

    Raises:
        ValueError: The file is larger than 1 MB, which is found without reading it, is not text in UTF-8, not JSON, or not
            what a guidance.json may hold.
    """
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{file} has {size:,} bytes; a guidance.json has at most {MAX_BYTES:,}, so this is none.")
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)  # whatever is added meanwhile
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8: {error.reason} at byte {error.start}.") from None
    return parse_document(text, str(file))


def parse_document(text: str, where: str = "guidance.json") -> dict[str, Any]:
    """Parse and check the text of a guidance.json, see ``check_document``.

    Args:
        text: The text.
        where: Name of the file, for errors.

    Raises:
        ValueError: The text is not JSON, names a field twice, holds NaN, Infinity or huge numbers, or is not what a
            guidance.json may hold.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"{where} has {len(text):,} characters; a guidance.json has at most {MAX_BYTES:,}.")
    try:
        document = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    except _Refused as error:
        raise ValueError(f"{where}: {error}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested more than {MAX_DEPTH} levels deep.") from None
    check_document(document, where)
    return document  # type: ignore[no-any-return]


def check_document(document: Any, where: str = "guidance.json") -> None:
    """Check the form of a guidance as plain types, before anything is built of it.

    Args:
        document: Term name to plain types, as ``Guidance.to_dict`` gives.
        where: Name of the document, for errors.

    Raises:
        ValueError: Not an object, of a newer format, more than 100 terms, nested more than 32 levels deep, more than 100,000
            values, names that are not text, or numbers that are not finite or beyond 2^53.
    """
    if not isinstance(document, Mapping):
        raise ValueError(f"{where}: a guidance is an object of term name to term, not {type(document).__name__}.")
    _check_format(document.get(FORMAT_FIELD), where)
    if len(document) > MAX_TERMS:
        raise ValueError(f"{where} has {len(document):,} terms; at most {MAX_TERMS} are read.")
    waiting: list[tuple[Any, int]] = [(document, 0)]
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"{where} is nested more than {MAX_DEPTH} levels deep.")
        _check_value(value, where)
        inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        waiting += [(item, depth + 1) for item in inside]
    raise ValueError(f"{where} has more than {MAX_VALUES:,} values.")


def shown(value: Any) -> str:
    """A value for an error message, cut where it is long."""
    return cut(repr(value), _SHOWN)


def cut(text: str, most: int) -> str:
    """A text, cut where it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[:most]}..."


class _Refused(Exception):
    """What a hook of the parser refuses; JSONDecodeError is a ValueError, so another kind tells them apart."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := doubled_key(pairs)) is not None:
        raise _Refused(f"{shown(twice)} is given twice.")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise _Refused(f"{name} is no number of JSON; give a finite one.")


def _whole(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > _LARGEST:
        raise _Refused(f"the number {digits[:20]}... is too large; at most 2^53.")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Refused(f"the number {digits[:20]} is too large.")
    return number


def _check_format(version: Any, where: str) -> None:
    """Files of today have no mark. One that a reader of today would misunderstand carries the number of its format."""
    if version is None or isinstance(version, Mapping):  # a term of this name
        return
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise ValueError(
            f"{where} is of format {version}, and this version of hf-guidance reads up to {FORMAT}: "
            "`pip install -U hf-guidance`."
        )
    raise ValueError(f"{where}: {FORMAT_FIELD} is {shown(version)}; it is a whole number above {FORMAT}, or left out.")


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        wrong = next((name for name in value if not isinstance(name, str)), None)
        if wrong is not None:
            raise ValueError(f"{where}: the name {shown(wrong)} is not text.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: {value} is no number of JSON; give a finite one.")
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{where}: a whole number is too large; at most 2^53.")
