"""Fingerprints of rows: which row a saved map belongs to, whatever the order of the rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hf_guidance.common.generators import generators_kept
from hf_guidance.common.progress import progress

_PIXELS, _IMAGE = "pixel_values", "image"
_TRIES = 6  # of a row that a transform may flip or not
_READ_AT_ONCE = 64  # rows of a table, whose images are in memory together


def row_fingerprint(row: Mapping[str, Any]) -> str:
    """The digest of a row's ``image_id``, labels, and pixels: 32 hexadecimal digits.

    Pixels are those of ``pixel_values``, or else of ``image``: the stored bytes where it is not decoded
    ({"bytes", "path"}), and the numbers of a PIL image, an array or a tensor. The two differ for the same photo.

    Args:
        row: The row.

    Raises:
        ValueError: The row has neither column, or the image is of another type.
    """
    labels: Any = row.get("labels") if row.get("labels") is not None else row.get("label")
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    listed = sorted(plain, key=str) if isinstance(plain, list | tuple | set) else [plain]
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([row.get("image_id"), listed], default=str).encode())
    for part in _pixels(row):
        digest.update(part)
    return digest.hexdigest()


def row_fingerprints(dataset: Any) -> list[str]:
    """The fingerprints of all rows, in order.

    Of a ``datasets.Dataset`` the stored bytes of the images are read and nothing is decoded; its transform and format do not
    matter, and neither does where files lie. Of other sequences of rows, each row is read as it is.

    Args:
        dataset: A map-style data set, or a list of rows.

    Raises:
        ValueError: It is a stream or a dict of splits; or a row is refused by `row_fingerprint`.

    Example:
        >>> len(set(row_fingerprints(train))) == len(train)
        True
    """
    check_numbered(dataset)
    rows = _stored(dataset) if isinstance(dataset, datasets.Dataset) else (dataset[i] for i in range(len(dataset)))
    return [row_fingerprint(row) for row in progress(rows, "reading rows", total=len(dataset))]


def check_numbered(dataset: Any) -> None:
    """Raise where rows have no numbers.

    Raises:
        ValueError: The data set is a stream or a dict of splits.
    """
    if isinstance(dataset, Mapping) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ValueError(
            f"the data set is a {type(dataset).__name__}, whose rows have no numbers; give one data set with a length, as "
            "splits['train'] or datasets.Dataset.from_list(list(stream))."
        )


def joined_fingerprint(fingerprints: Iterable[str]) -> str:
    """One fingerprint of rows in their order."""
    return hashlib.blake2b("\n".join(fingerprints).encode(), digest_size=16).hexdigest()


def changes_when_read(dataset: Any) -> bool:
    """Whether the first row is other pixels from one time to the next, as a random transform makes them.

    Args:
        dataset: A map-style data set; the global generators are left as they were.
    """
    found = set()
    for seed in range(_TRIES if len(dataset) else 0):
        with generators_kept(seed=seed):
            found.add(row_fingerprint(dataset[0]))
    return len(found) > 1


def _stored(dataset: datasets.Dataset) -> Iterator[Mapping[str, Any]]:
    """The rows as they lie in the table: images as bytes, not decoded."""
    pixels = _PIXELS if _PIXELS in dataset.column_names else _IMAGE
    kept = [name for name in ("image_id", "labels", "label", pixels) if name in dataset.column_names]
    plain = dataset.with_format(None).select_columns(kept)
    if isinstance(dataset.features.get(pixels), datasets.Image):
        plain = plain.cast_column(pixels, datasets.Image(decode=False))
    elif pixels in kept:
        plain = plain.with_format("numpy", columns=[pixels], output_all_columns=True)
    for start in range(0, len(plain), _READ_AT_ONCE):
        columns = plain[start : start + _READ_AT_ONCE]
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def _pixels(row: Mapping[str, Any]) -> Sequence[Any]:
    value = row.get(_PIXELS) if row.get(_PIXELS) is not None else row.get(_IMAGE)
    if isinstance(value, Mapping) and (value.get("bytes") is not None or value.get("path") is not None):
        return [value["bytes"] if value.get("bytes") is not None else _content(value["path"])]
    if isinstance(value, Image.Image):
        return [f"{value.mode}{value.size}".encode(), value.tobytes()]
    if hasattr(value, "__array__") or isinstance(value, list):
        numbers = np.ascontiguousarray(value)
        if numbers.dtype.kind in "biuf":
            return [f"{numbers.dtype}{numbers.shape}".encode(), numbers.tobytes()]
    raise ValueError(
        f"the row with image_id {row.get('image_id')!r} has no pixels in 'pixel_values' or 'image' but a "
        f"{type(value).__name__}; its columns are {sorted(row)}. Give PIL images, arrays of numbers, or a column of "
        "datasets.Image()."
    )


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"the image file {path!r} of a row cannot be read ({error}); put it back, or leave out the row."
        ) from error
