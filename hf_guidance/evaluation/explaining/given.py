"""Images as they are handed to ``explain``: files, PIL images, arrays or tensors, each read when its turn comes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import UNREADABLE, open_picture, rgb

_KINDS = "a path, a PIL image, a uint8 array (height, width, 3), or a uint8 tensor (3, height, width)"
_CHANNELS = (1, 3, 4)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class GivenImage:
    """One of the images given.

    Attributes:
        images: All images given, in a list or another sequence, such as a column of a dataset.
        index: Number of this one.
    """

    images: Sequence[Any]
    index: int

    @property
    def path(self) -> Path | None:
        """The file, if it is one."""
        value = self.images[self.index] if isinstance(self.images, list) else None
        return Path(value) if isinstance(value, str | Path) else None

    @property
    def name(self) -> str:
        """What errors, figures and files call it: its path, else its number."""
        return str(self.path or f"image {self.index}")

    def read(self) -> Image.Image:
        """The image as RGB of 8 bit, turned as EXIF says.

        Raises:
            ValueError: It cannot be read, is too large, or its numbers have no known range (``data/images/pictures.py``).
        """
        try:
            return _picture(self.images[self.index], self.name)
        except InvalidAnnotation as error:  # its own text gives advice on building a dataset
            raise ValueError(
                f"{self.name}: the image cannot be read: {error.message} Replace or leave it out."
            ) from error

    def shown(self) -> Image.Image:
        """The image as figures show it."""
        return self.read()


def given_images(images: Any) -> tuple[list[GivenImage], bool]:
    """The images one by one, and whether a single one was given, not in a list.

    The heads of all files are read at once, so that a wrong path does not end the work half way.

    Raises:
        ValueError: There is none, or one is missing, too large, or of another kind.
    """
    single = isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", None) in (2, 3)
    if single:
        images = [images]
    elif isinstance(images, dict | bytes) or not isinstance(images, Iterable):
        raise ValueError(f"images is a {type(images).__name__}; give {_KINDS}, or a list of them.")
    elif isinstance(images, set | frozenset):
        raise ValueError(
            f"images is a {type(images).__name__}, which has no order; give a list, for example sorted(images)."
        )
    elif isinstance(images, list | tuple) or not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
        images = list(images)
    if not len(images):
        raise ValueError(f"images is empty; give {_KINDS}, or a list of them.")
    given = [GivenImage(images, index) for index in range(len(images))]
    for image in given:
        if image.path is not None:
            _check_file(image.path)
    return given, single


def picture_of_bytes(data: bytes, name: str) -> Image.Image:
    """The picture that the bytes of a file hold, checked and read as the file would be.

    Args:
        data: The bytes.
        name: Names the picture in errors.

    Raises:
        ValueError: They are no picture, are cut off, or have too many pixels.
    """
    _check_head(BytesIO(data), name)
    try:
        return open_picture(BytesIO(data))
    except InvalidAnnotation as error:
        raise ValueError(f"{name}: the image cannot be read: {error.message} Replace or leave it out.") from error


def _picture(value: Any, name: str) -> Image.Image:
    if isinstance(value, str | Path):
        _check_file(Path(value))
        return rgb(open_picture(value), name)
    if isinstance(value, Image.Image):
        if not value.width * value.height:
            raise ValueError(f"{name} has no pixels: its size is {value.size} (width, height). Leave it out.")
        _check_pixels(value.width * value.height, name)
        return rgb(value, name)
    if isinstance(value, Tensor):
        return rgb(_of_array(_channels_last(value, name), name), name)
    if isinstance(value, np.ndarray):
        return rgb(_of_array(value, name), name)
    raise ValueError(f"{name} is a {type(value).__name__}; give {_KINDS}.")


def _channels_last(value: Tensor, name: str) -> npt.NDArray[Any]:
    if value.dim() == 3 and value.shape[0] not in _CHANNELS:
        raise ValueError(
            f"{name} is a tensor of shape {tuple(value.shape)}; with a processor tensors are (channels, height, width) with "
            f"{_CHANNELS} channels. Move the axis: image.movedim(-1, 0)."
        )
    array: npt.NDArray[Any] = (value.movedim(0, -1) if value.dim() == 3 else value).detach().cpu().numpy()
    return array


def _of_array(value: npt.NDArray[Any], name: str) -> Image.Image:
    if value.dtype not in (np.uint8, np.uint16, np.bool_) or (value.ndim == 3 and value.dtype != np.uint8):
        raise ValueError(
            f"{name} holds {value.dtype}, whose range nobody says; with a processor give uint8 from 0 to 255 (or uint16, one "
            "channel). Pixels that are processed already are given without a processor."
        )
    if value.ndim == 3 and value.shape[2] == 1:
        value = value[..., 0]
    if value.ndim not in (2, 3) or (value.ndim == 3 and value.shape[2] not in _CHANNELS) or not value.size:
        raise ValueError(
            f"{name} is an array of shape {value.shape}; arrays are (height, width) or (height, width, channels) with "
            f"{_CHANNELS} channels. Move the axis: numpy.moveaxis(image, 0, -1)."
        )
    _check_pixels(value.shape[0] * value.shape[1], name)
    return Image.fromarray(np.ascontiguousarray(value))


def _check_file(path: Path) -> None:
    """Raise for a file that is no image or has too many pixels; only its head is read."""
    if not path.is_file():
        raise ValueError(f"{path} is no file. {_not_a_file(path)}")
    _check_head(path, str(path))


def _check_head(file: Path | BytesIO, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file):
                pass
    except _BOMBS as error:
        raise _too_large(name) from error
    except UNREADABLE as error:
        raise ValueError(f"{name} is no image that can be read ({error}). Replace or leave it out.") from error


def _not_a_file(path: Path) -> str:
    if path.is_dir():
        return "It is a folder: give the files in it, for example sorted(Path(folder).glob('*.jpg'))."
    if str(path).startswith(("http:/", "https:/")):
        return "Addresses are not fetched: download it first, for example by transformers.image_utils.load_image(url)."
    return "Check the path."


def _check_pixels(pixels: int, name: str) -> None:
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> ValueError:
    return ValueError(
        f"{name} has more pixels than PIL.Image.MAX_IMAGE_PIXELS = {Image.MAX_IMAGE_PIXELS}, as files have that are made to "
        "fill the memory. Scale it down, or if you trust it, raise that number."
    )
