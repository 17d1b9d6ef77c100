"""Image ids: text and numbers name the same image, and id maps say which row of a file an image has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.data.builder_base import id_text, read_json
from hf_guidance.data.questions.region_files.numbers import whole_number
from hf_guidance.data.safe_pickle import safe_load

Ids = Iterable[Any] | Mapping[Any, int] | str | os.PathLike[str]
_COCO = re.compile(r"COCO_(?:train|val|test)20\d\d_(\d{12})")


def image_key(image_id: Any) -> str:
    """An image id as text, by the rule of `id_text`: 42, 42.0, np.int64(42), b"42" and "42" are the same image.

    Raises:
        ValueError: None, a boolean, a fraction, NaN, or anything else that is no id.
    """
    value = image_id.item() if getattr(image_id, "ndim", None) == 0 else image_id
    return id_text(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)


def image_keys(image_id: Any) -> tuple[Any, ...]:
    """The keys that an image may have in a mapping of image ids: its text, and its number if it is one.

    Raises:
        ValueError: ``image_id`` is no id.
    """
    text = image_key(image_id)
    return (text, int(text)) if text.isdecimal() and str(int(text)) == text else (text,)


def shown_key(image_id: Any) -> str:
    """`image_key`, or the text of what is no id, for lists of those that are not there."""
    try:
        return image_key(image_id)
    except ValueError:
        return repr(image_id)


class Names:
    """Finds an image by its id among names of images.

    "42" and "000000000042" are the same number. A name of COCO, such as COCO_val2014_000000000042, stands for its number
    too, but a number does not stand for a name of COCO: 42 may be an image of another collection.

    Note:
        A name that is there always means itself. Where names differ by their zeros only, as "42" and "0042", a third form of
        the number, "00042", may be any of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        # Number -> the names that are written otherwise.
        self._written: dict[str, list[str]] = {}
        for name in names:
            number = _number(name)
            if number is not None and number != name:
                self._written.setdefault(number, []).append(name)

    def candidates(self, key: str) -> list[str]:
        """The names that a key that is not among them may have; some need not be among them."""
        if not key.isdecimal():
            return []
        number = str(int(key))
        return [number, *self._written.get(number, [])]


def rows_of(ids: Ids, count: int, path: Path) -> tuple[dict[str, int], int]:
    """Image id -> row of a file, and how many images share a row with another.

    Args:
        ids: The image id of each row, a mapping id -> row, or a .json or .pkl file of either.
        count: Rows of the file.
        path: Names the file in errors.

    Raises:
        ValueError: Ids that are none or listed twice, or rows that the file does not have.
    """
    given: Any = _read_ids(Path(ids).expanduser()) if isinstance(ids, (str, os.PathLike)) else ids
    ordered = hasattr(given, "__iter__") and not isinstance(given, (bytes, set, frozenset))
    if ordered and not isinstance(given, Mapping) and getattr(given, "ndim", 1) == 1:
        given = list(given)
    if not isinstance(given, Mapping) and not (isinstance(given, list) and not any(map(np.ndim, given[:1]))):
        raise ValueError(
            f"{path}: ids is a {type(given).__name__}; give image ids in the order of the rows (a list or an array of one "
            "axis), or a mapping id -> row."
        )
    pairs = list(given.items()) if isinstance(given, Mapping) else [(each, row) for row, each in enumerate(given)]
    rows = {image_key(each): whole_number(row, f"{path}: the row of image {each!r}") for each, row in pairs}
    if len(rows) < len(pairs):
        raise ValueError(f"{path}: {len(pairs) - len(rows)} image ids are listed twice; give each image one row.")
    wrong = {image_id: row for image_id, row in rows.items() if row >= count}
    if wrong or (not isinstance(given, Mapping) and len(rows) != count):
        few = dict(list(wrong.items())[:5])
        raise ValueError(
            f"{path} has {count} rows, the ids name {len(rows)}{f', rows {few} among them' if wrong else ''}: the file "
            "is cut short, or the ids are those of another file."
        )
    return rows, len(rows) - len(set(rows.values()))


def ids_beside(path: Path) -> Path:
    """The file with the ids of another: ``<name>_imgid2idx`` or ``<name>_imgid2img``, .pkl or .json.

    Raises:
        ValueError: There is none, or more than one.
    """
    endings = [f"_imgid2{name}{ending}" for name in ("idx", "img") for ending in (".pkl", ".json")]
    candidates = [path.with_name(f"{path.stem}{ending}") for ending in endings]
    found = [candidate for candidate in candidates if candidate.is_file()]
    if len(found) != 1:
        names = [each.name for each in (found or candidates)]
        raise ValueError(
            f"{path}: {'none' if not found else 'more than one'} of {names} lies beside it; pass ids, image id -> row."
        )
    return found[0]


def _number(name: str) -> str | None:
    match = _COCO.fullmatch(name)
    digits = match[1] if match else name
    return str(int(digits)) if digits.isdecimal() else None


def _read_ids(path: Path) -> Any:
    ids = safe_load(path) if path.suffix in (".pkl", ".pickle") else read_json(str(path), unique_keys=True)
    if isinstance(ids, np.ndarray) and ids.ndim == 1:
        return list(ids)
    if not isinstance(ids, (list, tuple, Mapping)):
        raise ValueError(f"{path} holds a {type(ids).__name__}; allowed: a list of image ids, or image id -> row.")
    return ids
