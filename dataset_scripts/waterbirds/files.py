"""The two text files of Waterbirds: metadata.csv and the boxes of CUB-200-2011."""

import csv
import io
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from hf_guidance.data.builder_base import read_text

COLUMNS = ("img_id", "img_filename", "y", "split", "place")


class Line(NamedTuple):
    """A line of metadata.csv; ``fault`` describes a wrong number of fields and is empty where the number is right."""

    number: int
    columns: dict[str, str]
    fault: str


def read_metadata(path: str) -> list[Line]:
    """Every line. Missing columns and quotes that join lines are always errors, because then nothing can be trusted."""
    if not os.path.isfile(path):
        raise ValueError(f"metadata_file: {path} is not a file; allowed: a csv file with {', '.join(COLUMNS)}.")
    rows = [(number, values) for number, values in read_rows(path) if values]
    header = rows[0][1] if rows else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(f"{path}: column {', '.join(missing)} missing; allowed: a csv file with {', '.join(COLUMNS)}.")
    if len(rows) == 1:
        raise ValueError(f"{path}: there is no line below the header; give the whole file.")
    lines = []
    for number, values in rows[1:]:
        padded = [value.strip() for value in values] + [""] * (len(header) - len(values))
        columns = {column: value for column, value in zip(header, padded, strict=False) if column}
        columns["img_id"] = plain_id(columns["img_id"])
        count = f"it has {len(values)} fields, the header {len(header)}; quote values that hold a comma."
        fault = "" if len(values) == len(header) else count
        lines.append(Line(number, columns, fault))
    return lines


def read_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and values of every line of a csv file; a blank line has no value."""
    # without strict=True a quote that is not closed makes one value of all lines below it
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    number = 1
    try:
        for values in reader:
            torn = [value for value in values if "\n" in value or "\r" in value]
            if torn:
                raise ValueError(
                    f"{path}, line {number}: the value {torn[0][:60]!r} goes over several lines; allowed: values of one "
                    "line. Close its quote, or take the quote away."
                )
            yield number, values
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {number}: this is not well-formed csv ({error}). A value that begins with a quote ends with "
            "one; close the quote, or take it away."
        ) from None


def plain_id(text: str) -> str:
    """An id or an index without the fraction that spreadsheets give to whole numbers: 960.0 is 960."""
    return re.sub(r"^(\d+)\.0+$", r"\1", text)


def read_box_lines(path: str) -> list[tuple[int, list[str]]]:
    """Line number and fields of every line of a box file that is not blank."""
    lines = enumerate(io.StringIO(read_text(path), newline=None), start=1)
    return [(number, line.split()) for number, line in lines if line.strip()]
