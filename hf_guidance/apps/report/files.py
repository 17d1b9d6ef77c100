"""Files that a report reads: JSON and PNG only, of bounded size; nothing is unpickled or run."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_JSON = 64 << 20  # bytes: a log of a million entries
MOST_PICTURE = 4 << 20  # bytes
_MOST_DEPTH = 64
_MOST_PIXELS = 40_000_000
_PNG = b"\x89PNG\r\n\x1a\n"


def read_json(file: Path, kind: type, fix: str, most: int = MOST_JSON) -> Any:
    """Read a JSON file that a run left.

    Args:
        file: The file.
        kind: dict or list: what it holds.
        fix: What a user can do about a damaged file, for the error.
        most: Bytes that are read at most.

    Raises:
        ValueError: It is too large, damaged, or holds something else; the message names the file and the fix.
    """
    try:
        if (size := file.stat().st_size) > most:
            raise ValueError(f"it has {size} bytes, more than the {most} that a report reads")
        content = json.loads(file.read_text(encoding="utf-8"))
        _check_depth(content)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read ({error}); {fix}.") from error
    if not isinstance(content, kind):
        raise ValueError(f"{file} holds {type(content).__name__}, where {kind.__name__} is meant; {fix}.")
    return content


def _check_depth(content: Any) -> None:
    layer = [content]
    for _ in range(_MOST_DEPTH):
        inside = (each.values() if isinstance(each, dict) else each for each in layer if isinstance(each, dict | list))
        layer = [value for values in inside for value in values if isinstance(value, dict | list)]
        if not layer:
            return
    raise ValueError(f"it is nested more than {_MOST_DEPTH} deep")


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        name: The name of its file.
        uri: The picture itself as a data URI; "" where it is left out.
        why: Why it is left out.
        size: (width, height) in pixels.
    """

    name: str
    uri: str = ""
    why: str = ""
    size: tuple[int, int] = (0, 0)


def read_picture(file: Path) -> Picture:
    """Read a PNG for a page. One that cannot be shown is left out, with the reason in ``why``."""
    from PIL import Image  # imported here: few reports have pictures

    try:
        if (size := file.stat().st_size) > MOST_PICTURE:
            return Picture(file.name, why=f"it has {size >> 20} MB, more than the {MOST_PICTURE >> 20} of a page")
        content = file.read_bytes()
        if not content.startswith(_PNG):
            return Picture(file.name, why="it is no PNG")
        with Image.open(io.BytesIO(content)) as image:
            shape = image.size
            if shape[0] * shape[1] > _MOST_PIXELS:
                return Picture(file.name, why=f"it has {shape[0]} x {shape[1]} pixels")
            image.verify()
    except Exception as error:  # Pillow raises errors of many kinds for damaged files
        return Picture(file.name, why=f"it is damaged ({type(error).__name__})")
    return Picture(file.name, "data:image/png;base64," + base64.b64encode(content).decode(), size=shape)
