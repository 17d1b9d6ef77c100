"""The text files of CelebA: attributes of every image, and which split it is of."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from hf_guidance.data.builder_base import read_text

ATTRIBUTES = ("Smiling", "Black_Hair", "Blond_Hair")
NAME_COLUMNS = ("filename", "file_name", "image_id", "image", "")  # of csv copies; CelebA itself names no such column
VALUES = {"1": True, "0": False, "-1": False}
PARTITIONS = ("0", "1", "2")  # train, validation, test


class Line(NamedTuple):
    """A line of an attribute file. `fault` is the reason and the message why it cannot be used, or None."""

    number: int
    image: str
    smiling: bool = False
    black: bool = False
    blond: bool = False
    fault: tuple[str, str] | None = None

    @property
    def group(self) -> int | None:
        """2 * smiling + black hair; None where the hair is black and blond, or neither."""
        return None if self.black == self.blond else 2 * self.smiling + self.black


def read_attributes(path: str) -> list[Line]:
    """Every line, in the order of the file, which may be CelebA's own, a csv, or one of those released with CRAYON.

    A count that is wrong, missing attributes and two encodings in one file are always errors: then nothing can be trusted.
    """
    rows = list(_rows(path))
    count = int(rows.pop(0)[1]) if rows and rows[0][1].isdecimal() else None
    header = rows.pop(0)[1] if rows else ""
    separator = "," if "," in header else None
    columns = [column.strip() for column in header.split(separator)]
    if columns and columns[0].lower() not in NAME_COLUMNS:
        columns = ["", *columns]
    wrong = [name for name in ATTRIBUTES if columns.count(name) != 1]
    if wrong:
        raise ValueError(
            f"{path}: its header must have {', '.join(ATTRIBUTES)} once each, and {', '.join(wrong)} is missing or there "
            "twice; give CelebA's list_attr_celeba.txt, or a csv of the same columns."
        )
    if not rows or count not in (None, len(rows)):
        said = "" if count is None else f", and the first line says {count}"
        raise ValueError(f"{path}: it has {len(rows)} lines below the header{said}; give the whole file.")
    places = [columns.index(name) for name in ATTRIBUTES]
    first: dict[str, int] = {}  # 0 or -1 -> the first line that has it
    lines = []
    for number, text in rows:
        fields = text.split(separator)
        if separator is not None:
            fields = [field.strip() for field in fields]
        lines.append(_line(number, fields, len(columns), places))
        if lines[-1].fault is None:
            for place in places:
                first.setdefault(fields[place], number)
    if "0" in first and "-1" in first:
        raise ValueError(
            f"{path}: line {first['0']} holds 0 and line {first['-1']} holds -1, and 0 may then mean no or not known; allowed: "
            "1 and -1, or 1 and 0, in the whole file."
        )
    return lines


def _line(number: int, fields: list[str], columns: int, places: list[int]) -> Line:
    image = fields[0]
    if len(fields) != columns:
        message = f"it has {len(fields)} fields, the header tells {columns}: the image and {columns - 1} attributes."
        return Line(number, image, fault=("line with too few or too many fields", message))
    values = [fields[place] for place in places]
    for name, value in zip(ATTRIBUTES, values, strict=True):
        if value not in VALUES:
            message = f"{name} is {value!r}; allowed: 1 for yes, and -1 or 0 for no."
            return Line(number, image, fault=(f"unknown {name}", message))
    if not image:
        return Line(number, image, fault=("line without image name", "its first field is empty."))
    return Line(number, image, *(VALUES[value] for value in values))


def read_partition(path: str) -> dict[str, int]:
    """Image -> 0 (train), 1 (validation) or 2 (test), from CelebA's list_eval_partition.txt or a csv of it.

    Every fault is an error: an image in the wrong split would be trained on and tested.
    """
    found: dict[str, int] = {}
    for number, text in _rows(path):
        fields = text.replace(",", " ").split()
        if number == 1 and fields[0].lower() in NAME_COLUMNS:
            continue
        if len(fields) != 2 or fields[1] not in PARTITIONS or fields[0] in found:
            raise ValueError(
                f"{path}, line {number}: got {text!r}; allowed: an image, each once, and 0 (train), 1 (validation) or 2 (test)."
            )
        found[fields[0]] = int(fields[1])
    return found


def _rows(path: str) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank."""
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a file; give one of CelebA's list files.")
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        if text.strip():
            yield number, text.strip()
