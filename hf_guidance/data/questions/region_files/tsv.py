"""Region features as tab-separated text, as bottom-up-attention and LXMERT publish them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Any

from hf_guidance.common.progress import progress_bar
from hf_guidance.data.questions.region_files.numbers import whole_number
from hf_guidance.data.questions.region_files.opened import KNOWN_LAYOUTS, Array, OpenedFile
from hf_guidance.data.questions.region_files.records import FIELDS, Reading, field_names, record_objects

_IDS = ("image_id", "img_id")
_BOTTOM_UP = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
_LXMERT = (
    "img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf", "num_boxes", "boxes", "features",
)  # fmt: skip
_KNOWN = (_BOTTOM_UP, (*_BOTTOM_UP, "cls_prob"), _LXMERT)
_BUFFER = 1 << 18  # lines are several hundred thousand characters long


class TsvFile(OpenedFile):
    """A line per image; the columns are those of the first line, or known by their number; features are base64."""

    def __init__(self, path: Any, reading: Reading, columns: Sequence[str] | None = None) -> None:
        super().__init__(path)
        if isinstance(columns, str):
            raise ValueError(f"columns={columns!r} is a text; give a list with the name of each column.")
        self.reading, self._given = reading, None if columns is None else tuple(columns)
        self.columns: tuple[str, ...] = self._given or ()

    def open(self) -> mmap.mmap:
        """Map the file."""
        with open(self.path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def index(self) -> dict[str, int]:
        """Image id -> where its line begins; reads the file once, a line at a time.

        Raises:
            ValueError: Unknown columns; a line with more or fewer columns, cut short, or with a wrong number; an image twice
                with different features.
        """
        rows: dict[str, int] = {}
        offset, length, named = 0, 0.0, False
        whole = os.path.getsize(self.path)
        with (
            open(self.path, "rb", buffering=_BUFFER) as file,
            progress_bar(whole, f"indexing {os.path.basename(self.path)}", unit="B", unit_scale=True) as bar,
        ):
            for number, line in enumerate(file, 1):
                bar.update(len(line))
                start, offset = offset, offset + len(line)
                fields = _fields(line)
                if fields == [b""]:
                    continue
                if not named:
                    named = True
                    if self._read_columns(fields):
                        continue
                try:
                    image, per_box = self._checked(fields, length)
                except ValueError as error:
                    raise ValueError(f"{self.path}, line {number}: {error}") from None
                length = length or per_box
                if not per_box:
                    self.count("images without a box", 1, f"line {number}, image {image!r}")
                elif image not in rows:
                    rows[image] = start
                elif _fields(self._line(rows[image])) == fields:
                    self.count("lines that repeat an image", 1, f"line {number}, image {image!r}")
                else:
                    raise ValueError(
                        f"{self.path}, line {number}: image {image!r} is there twice, with other features."
                    )
        if not rows:
            raise ValueError(f"{self.path} holds no image; {KNOWN_LAYOUTS}.")
        return rows

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        fields = _fields(self._line(row))
        record = {name: field.decode("latin1") for name, field in zip(self.columns, fields, strict=True)}
        features, boxes, size = record_objects(record, self.reading)
        return features, self.unit(boxes, size, record[self._id])

    def _line(self, offset: int) -> bytes:
        end = self.handle.find(b"\n", offset)
        return bytes(self.handle[offset : end if end >= 0 else len(self.handle)])

    def _read_columns(self, fields: list[bytes]) -> bool:
        # True if the first line holds the names of the columns.
        names = tuple(field.removeprefix(b"\xef\xbb\xbf").decode("latin1").strip() for field in fields)
        header = any(name in _IDS for name in names)
        known: dict[int, tuple[str, ...]] = {len(columns): columns for columns in _KNOWN}
        self.columns = self._given or (names if header else known.get(len(names)) or ())
        if sum(name in _IDS for name in self.columns) != 1:
            raise ValueError(
                f"{self.path}: the first line has {len(names)} columns, the names {list(self.columns)}; allowed without a line "
                f"of names are {' or '.join(str(list(columns)) for columns in _KNOWN)}. Pass columns=, their names in order; "
                f"{KNOWN_LAYOUTS}."
            )
        self._check_names(names if header else ())
        return header

    def _check_names(self, header: tuple[str, ...]) -> None:
        known = {*_IDS, *(name for names in FIELDS.values() for name in names)}
        pairs = zip(header, self.columns, strict=False)
        if header and (
            len(header) != len(self.columns) or any(found != given and found in known for found, given in pairs)
        ):
            raise ValueError(
                f"{self.path}: the first line names the columns {list(header)}, columns= names {list(self.columns)}; leave "
                "columns= out."
            )
        try:
            field_names(dict.fromkeys(self.columns))
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    @property
    def _id(self) -> str:
        return next(name for name in self.columns if name in _IDS)

    def _checked(self, fields: list[bytes], length: float) -> tuple[str, float]:
        # The id of a line, and the length of one box's features, the same in every line; 0 where there is no box.
        if len(fields) != len(self.columns):
            raise ValueError(f"{len(fields)} columns where there are {len(self.columns)}: {list(self.columns)}.")
        record = dict(zip(self.columns, fields, strict=True))
        names = field_names(record)
        if "num_boxes" not in names:
            raise ValueError(f"the columns {list(self.columns)} have no {' or '.join(FIELDS['num_boxes'])}.")
        numbers = {name: whole_number(record[name], name) for field, name in names.items() if field[0] in "ni"}
        image = record[self._id].decode("utf-8", "replace").strip()
        if not image:
            raise ValueError(f"the image has no {self._id}; give each line one.")
        if not numbers[names["num_boxes"]]:
            return image, 0.0
        per_box = _length(record[names["features"]]) / numbers[names["num_boxes"]]
        if not per_box or (length and per_box != length):
            raise ValueError(
                f"image {image!r} has {per_box:g} bytes of features per box, the images before have {length:g}: the line is "
                "cut short, or num_boxes is wrong."
            )
        return image, per_box


def _fields(line: bytes) -> list[bytes]:
    # Long fields are base64, so that only the quotes around a whole field can occur.
    fields = line.rstrip(b"\r\n").split(b"\t")
    return [field[1:-1] if len(field) > 1 and field[:1] == field[-1:] == b'"' else field for field in fields]


def _length(field: bytes) -> int:
    # The number of bytes that base64 stands for, without decoding it.
    text = field[2:-1] if field[:2] in (b"b'", b'b"') else field
    return len(text) * 3 // 4 - text[-2:].count(b"=")
