"""The photo of one dataset row, and the name of the row in errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import rgb


def row_name(row: Mapping[str, Any], index: int) -> str:
    """What errors call a row."""
    return f"row {index} of the batch (image_id {row.get('image_id')!r})"


def photo(row: Mapping[str, Any], name: str) -> Image.Image:
    """The image of a row as RGB of 8 bit, turned as its EXIF says; see `rgb`.

    Raises:
        ValueError: There is none, it is no PIL image, or it cannot be read as `rgb` says.
    """
    value = row.get("image")
    if value is None:
        raise ValueError(f"{name} has no PIL image in column 'image'; its columns are {sorted(row)}.")
    if not hasattr(value, "convert"):
        raise ValueError(
            f"{name} has no PIL image in column 'image' but a {type(value).__name__}; use `dataset.with_format(None)` "
            "(and decode files by `cast_column('image', datasets.Image())`), or give pixel_values."
        )
    try:
        return rgb(value, name)
    except InvalidAnnotation as error:  # str(error) gives advice on building a dataset, which does not apply here
        raise ValueError(f"{name}: the image cannot be read: {error.message} Replace or leave out the file.") from error
