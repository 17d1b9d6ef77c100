"""One image's region features as a record of named fields, as LMDB, TSV, .npz and groups of HDF5 have them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_guidance.data.questions.region_files.numbers import Array, check_real, real_numbers, whole_number
from hf_guidance.data.questions.region_files.opened import UnknownImage

FIELDS = {
    "features": ("features", "feature", "x"),
    "boxes": ("boxes", "bbox", "bboxes"),
    "num_boxes": ("num_boxes", "num_bbox", "num_bboxes"),
    "image_h": ("image_h", "img_h", "image_height", "height"),
    "image_w": ("image_w", "img_w", "image_width", "width"),
}
"""Each field and the names that published files give it."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n'"
_LOOK = 1024  # numbers, pairs of zeros left out, that are looked at to tell float32 from something else
_TINY, _HUGE = 1e-12, 1e8  # numbers outside are not those of features, but of bytes that are read wrong
_HALF_RANGE = (1e-4, 64.0)  # where features in float16 lie


@dataclass(frozen=True)
class Reading:
    """How the records of a file are read.

    Args:
        dtype: Of features that are stored as bytes or base64; boxes are floats of its byte order, whose size their length
            tells. None: float32, as published, and features that do not look it are refused.
        normalized: Boxes are in [0, 1], although the record gives the size of the image.
    """

    dtype: Any = None
    normalized: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None:
            try:
                check_real(self.dtype, "dtype")
            except TypeError:
                raise ValueError(f"dtype={self.dtype!r} is not known to NumPy; give for example 'float16'.") from None


def field_names(record: Mapping[str, Any]) -> dict[str, str]:
    """Field -> its name in this record.

    Raises:
        ValueError: No features or no boxes; only one side of the image; two names of one field.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"a {type(record).__name__} is no record; allowed is {_allowed()}.")
    found = {field: [name for name in names if name in record] for field, names in FIELDS.items()}
    twice = {field: names for field, names in found.items() if len(names) > 1}
    if twice:
        raise ValueError(f"the record has several names of one field, {twice}; keep one of each.")
    names = {field: each[0] for field, each in found.items() if each}
    if "features" not in names or "boxes" not in names or ("image_h" in names) != ("image_w" in names):
        raise ValueError(f"the record has the fields {[str(name) for name in record][:12]}; allowed is {_allowed()}.")
    return names


def has_no_box(record: Mapping[str, Any]) -> bool:
    """Whether a record says that its image has no box; False for a record that cannot be read."""
    try:
        names = field_names(record)
        if "num_boxes" in names:
            return not whole_number(record[names["num_boxes"]], names["num_boxes"])
        return not len(_content(record[names["boxes"]], "boxes"))
    except (ValueError, TypeError):
        return False


def record_objects(record: Mapping[str, Any], reading: Reading) -> tuple[Array, Array, tuple[int, int] | None]:
    """The features and boxes of a record.

    Args:
        record: Fields by any name of `FIELDS`. Arrays have the dtype that they have. Text is base64; bytes are base64 or raw.
        reading: How bytes and boxes are to be read.

    Returns:
        Features (objects, dims); boxes (objects, 4); and the width and height of the image where boxes are in pixels, or None
        where they are in [0, 1]: with ``reading.normalized``, and in records without the size of the image.

    Raises:
        UnknownImage: The image has no box.
        ValueError: A field is missing; numbers, shapes or lengths do not fit; or the dtype of bytes cannot be known.
    """
    names = field_names(record)
    given = {field: record[name] for field, name in names.items()}
    features, boxes = _content(given["features"], "features"), _content(given["boxes"], "boxes")
    if "num_boxes" in given:
        count = whole_number(given["num_boxes"], names["num_boxes"])
    elif isinstance(boxes, bytes) or boxes.ndim != 2:
        raise ValueError("the record has no num_boxes, which boxes without two axes need; add it.")
    else:
        count = len(boxes)
    if not count:
        raise UnknownImage("the image has no box, so it has no features; leave its rows out.")
    if isinstance(boxes, bytes):
        boxes = _box_numbers(boxes, count, features, reading)
    if isinstance(features, bytes):
        features = _feature_numbers(features, count, boxes, reading)
    features, boxes = _shaped(features, boxes, count, names["features"] == "x")
    if reading.normalized or "image_h" not in given:
        return features, boxes, None
    width, height = (whole_number(given[field], names[field]) for field in ("image_w", "image_h"))
    return features, boxes, (width, height)


def decoded(value: str | bytes) -> bytes:
    """The bytes of a text of base64, or of bytes that are base64 or raw.

    Text of Python 2 is bytes: it is raw where every character is a byte, some are not ASCII, and more than a tenth are none
    of base64, which a damaged text of base64 does not reach.

    Raises:
        ValueError: Text that is not base64, nor raw bytes.
    """
    if isinstance(value, str) and not value.isascii() and max(value) <= "\xff":
        raw = value.encode("latin1")
        if len(raw.translate(None, _BASE64)) > len(raw) / 10:
            return raw
    # Python 2 wrote base64 as text, and with line ends; Python 3 writes "b'...'" where bytes were turned into text.
    content = value.encode("latin1", "replace") if isinstance(value, str) else bytes(value)
    if content[:2] in (b"b'", b'b"') and content[-1:] == content[1:2]:
        content = content[2:-1]
    if content[76:77] in (b"\n", b"\r") or content[-1:] == b"\n":  # lines of 76 characters
        content = content.translate(None, b"\r\n")
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        if isinstance(value, str):
            raise ValueError(
                f"a text of {len(content)} characters is not base64 ({error}); extract it again."
            ) from None
        return bytes(value)


def _content(value: Any, what: str) -> Array | bytes:
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "SUO":
        value = value.item()
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return decoded(value if isinstance(value, str) else bytes(value))
    return real_numbers(value, what)


def _box_numbers(content: bytes, count: int, features: Array | bytes, reading: Reading) -> Array:
    # Four numbers a box: so their length tells the size of a number.
    size = len(content) // (4 * count) if count and len(content) % (4 * count) == 0 else 0
    if size not in (2, 4, 8):
        raise _mismatch(count, features, content)
    if reading.dtype is None:
        if size != 4:
            raise ValueError(
                f"{len(content)} bytes of {count} boxes are {size} a number, not the 4 of float32, as which features are "
                "published; pass dtype=, the dtype in which the features were written, for example 'float64'."
            )
        return np.frombuffer(content, "<f4")
    return np.frombuffer(content, np.dtype(f"f{size}").newbyteorder(np.dtype(reading.dtype).byteorder))


def _feature_numbers(content: bytes, count: int, boxes: Array, reading: Reading) -> Array:
    dtype = np.dtype("<f4" if reading.dtype is None else reading.dtype)
    if not count or not content or len(content) % (count * dtype.itemsize):
        raise _mismatch(count, content, boxes, dtype)
    numbers = np.frombuffer(content, dtype)
    if reading.dtype is None and not _like_float32(_first_pairs(numbers)):
        raise ValueError(
            f"{len(content)} bytes of features of {count} boxes do not look like float32, as which they are published "
            f"(they begin {numbers[:4].tolist()}); pass dtype=, the dtype in which they were written, 'float32' if it is that."
        )
    return numbers


def _first_pairs(numbers: Array) -> Array:
    # In pairs, which are what a float64 is; images may begin with zeros, which are the same in every dtype.
    even = np.append(numbers, numbers[:1] * 0) if len(numbers) % 2 else numbers
    pairs = np.ascontiguousarray(even).view(np.uint64)
    found = np.flatnonzero(pairs[:_LOOK])[: _LOOK // 2]
    if len(found) < _LOOK // 2:  # rarely: many zeros
        found = np.flatnonzero(pairs)[: _LOOK // 2]
    return pairs[found].view(numbers.dtype)


def _like_float32(numbers: Array) -> bool:
    size = np.abs(numbers[numbers != 0])
    if not np.isfinite(size).all() or ((size < _TINY) | (size > _HUGE)).sum() > 0.01 * len(size):
        return False  # float64, whole numbers or another byte order
    if not numbers[::2].any() and numbers[1::2].any():
        return False  # float64 whose lower half is zero
    # float16: the first of each pair is the lower half of a float32, whose bits are random in float32
    halves = np.abs(numbers.view("<f2")[::2])
    halves = halves[halves != 0]
    return len(halves) < 8 or not ((halves >= _HALF_RANGE[0]) & (halves <= _HALF_RANGE[1])).all()


def _shaped(features: Array, boxes: Array, count: int, either: bool) -> tuple[Array, Array]:
    flat_boxes = boxes.ndim == 1 and count and boxes.size == 4 * count
    boxes = boxes.reshape(count, 4) if flat_boxes else boxes
    flat_features = features.ndim == 1 and count and features.size % count == 0
    features = features.reshape(count, -1) if flat_features else features
    places = len(boxes)
    if features.ndim == 2 and features.shape[0] != places == features.shape[1]:
        features = features.T  # some extractors store (dims, objects)
    elif either and features.ndim == 2 and features.shape[0] == features.shape[1] == places > 1:
        raise ValueError(
            f"x has shape {features.shape} for {places} boxes, so that it may be (objects, dims) or (dims, objects); store it "
            "as features, (objects, dims)."
        )
    fits = boxes.ndim == 2 and boxes.shape[1] == 4 and features.ndim == 2 and len(features) == places and features.size
    if not fits or not 1 <= count <= places or features[count:].any() or boxes[count:].any():
        raise _mismatch(count, features, boxes)
    return features[:count], boxes[:count]


def _mismatch(count: int, features: Array | bytes, boxes: Array | bytes, dtype: Any = None) -> ValueError:
    item = np.dtype(dtype or "<f4").itemsize
    numbers = [len(part) / item if isinstance(part, bytes) else part.size for part in (features, boxes)]
    shapes = [
        f"as bytes in {np.dtype(dtype or 'f4')}" if isinstance(p, bytes) else f"in {p.shape}" for p in (features, boxes)
    ]
    return ValueError(
        f"{count} boxes are declared, but there are {numbers[0]:g} numbers of features and {numbers[1]:g} of boxes (features "
        f"{shapes[0]}, boxes {shapes[1]}); allowed are (objects, dims) and (objects, 4), with zeros after num_boxes. Extract "
        "the features again, or pass dtype= for bytes that are not float32."
    )


def _allowed() -> str:
    return "a dict with " + ", ".join(" or ".join(names) for names in FIELDS.values())
