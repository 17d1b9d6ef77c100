"""Pictures that a pipeline is given as text: addresses, and pictures written in base64."""

from __future__ import annotations

import base64
import binascii
import os
import urllib.request
from http.client import HTTPException

from PIL import Image

from hf_guidance.evaluation.explaining.given import picture_of_bytes

_SHOWN = 60  # characters of a text in an error


def fetched(text: str, timeout: float | None = None) -> Image.Image | str:
    """The picture at an address or in base64, read as a file with the same bytes is; the path of a file as it is.

    Args:
        text: A path; an address that begins with http:// or https://; "data:image/...;base64,..." or base64 alone.
        timeout: Seconds to wait for an address.

    Raises:
        ValueError: None of them, an address that cannot be read, or what was found is no picture or has too many pixels.
    """
    if os.path.exists(text):
        return text
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    if text.startswith(("http://", "https://")):
        return picture_of_bytes(_answer(text, timeout), shown)
    written = text.split(",", 1)[-1] if text.startswith("data:image/") else text
    try:
        data = base64.b64decode("".join(written.split()), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or (written is text and not _is_picture(data)):
        raise ValueError(
            f"{shown!r} is no file, no address (http:// or https://) and no picture in base64. Check the path."
        )
    return picture_of_bytes(data, shown)


def _answer(address: str, timeout: float | None) -> bytes:
    # transformers' load_image would clip pictures of 16 bit, and unpack a small file to any size.
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:
            data: bytes = answer.read()
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(
            f"{address} cannot be read: {error}. Check the address, or download the picture first."
        ) from error
    return data


def _is_picture(data: bytes) -> bool:
    # A word such as "cats" is base64, too; pictures begin with bytes that no such word gives.
    return data.startswith((b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF"))
