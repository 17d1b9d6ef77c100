"""PatchTable: the patches of every channel, as a value and as a file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file

SHOWN = 3
"""Patches of a channel that are shown to people (CRAYON, paper, section IV-B)."""
_ARRAYS = ("image", "row", "column", "value")
_PAIRS = ("image_size", "grid", "cell")
_FORMAT = 1


class Patch(NamedTuple):
    """One place of one image; channels that have the same one share it.

    Attributes:
        image: Index of the image in the data set.
        row: Row of the place on the layer's grid.
        column: Its column.
    """

    image: int
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class PatchTable:
    """The patches of every channel, best first.

    Attributes:
        layer: Path of the module whose channels these are.
        images: Number of images that were searched.
        image_size: (height, width) in pixels of the images as the model was given them.
        grid: (height, width) of the layer in places.
        cell: (height, width) in pixels of one place.
        image: (channels, ranks) int64, index of the image.
        row: (channels, ranks) int64, row of the place.
        column: (channels, ranks) int64, its column.
        value: (channels, ranks), the activation there.
        model: Fingerprint of the model.
    """

    layer: str
    images: int
    image_size: tuple[int, int]
    grid: tuple[int, int]
    cell: tuple[int, int]
    image: npt.NDArray[np.int64] = field(repr=False)
    row: npt.NDArray[np.int64] = field(repr=False)
    column: npt.NDArray[np.int64] = field(repr=False)
    value: npt.NDArray[np.floating] = field(repr=False)
    model: str

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.image)

    def of_channel(self, channel: int, shown: int = SHOWN) -> list[Patch]:
        """The first patches of a channel."""
        columns = (getattr(self, name)[channel, :shown].tolist() for name in ("image", "row", "column"))
        return [Patch(*place) for place in zip(*columns, strict=True)]

    def unique(self, shown: int = SHOWN) -> dict[Patch, list[int]]:
        """Each patch among the first of all channels once, with the channels that have it, in order of image and place.

        Args:
            shown: Patches per channel that count.
        """
        found: dict[Patch, list[int]] = {}
        for channel in range(self.channels):
            for patch in self.of_channel(channel, shown):
                found.setdefault(patch, []).append(channel)
        return dict(sorted(found.items()))

    def box(self, patch: Patch) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of a patch in pixels of the image as the model was given it, cut off at its edge."""
        top, left = patch.row * self.cell[0], patch.column * self.cell[1]
        height, width = self.image_size
        return left, top, min(left + self.cell[1], width), min(top + self.cell[0], height)

    def to_items(self, shown: int = SHOWN) -> list[dict[str, Any]]:
        """The patches to be answered, each once: {"image", "row", "col", "box", "channels"}.

        Args:
            shown: Patches per channel that are shown.
        """
        return [
            {
                "image": patch.image,
                "row": patch.row,
                "col": patch.column,
                "box": list(self.box(patch)),
                "channels": channels,
            }
            for patch, channels in self.unique(shown).items()
        ]

    def check(self, model: str) -> None:
        """Refuse patches of another model.

        Args:
            model: Fingerprint of the model at hand.

        Raises:
            ValueError: It differs.
        """
        if model != self.model:
            raise ValueError(
                f"these patches of {self.layer!r} were found for a model with fingerprint {self.model[:12]}, the model given "
                f"has {model[:12]}: answers about them say nothing about its channels. Search its patches by top_patches."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as JSON; the file is complete or absent."""
        plain: dict[str, Any] = {"format": _FORMAT, "layer": self.layer, "images": self.images, "model": self.model}
        plain |= {name: list(getattr(self, name)) for name in _PAIRS}
        plain |= {name: getattr(self, name).tolist() for name in _ARRAYS}
        with whole_file(os.fspath(path)) as draft:
            draft.write_text(json.dumps(plain) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PatchTable:
        """Read what ``save`` wrote.

        Raises:
            ValueError: The file is cut short, of another format, or its numbers do not fit each other.
        """
        plain = read_json(path)
        names = {"format", "layer", "images", "model", *_PAIRS, *_ARRAYS}
        if not isinstance(plain, dict) or plain.keys() != names or plain["format"] != _FORMAT:
            raise ValueError(
                f"{os.fspath(path)} is no table of patches of format {_FORMAT}: it must have {sorted(names)}."
            )
        try:
            image, row, column = (np.array(plain[name], np.int64) for name in ("image", "row", "column"))
            size, grid, cell = (_pair(plain[name]) for name in _PAIRS)
            value = np.array(plain["value"], np.float64)
            layer, model = str(plain["layer"]), str(plain["model"])
            table = cls(layer, int(plain["images"]), size, grid, cell, image, row, column, value, model)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{os.fspath(path)} is damaged ({error}): search the patches again by top_patches."
            ) from None
        table._check_numbers(os.fspath(path))
        return table

    def _check_numbers(self, path: str) -> None:
        limits = {"image": self.images, "row": self.grid[0], "column": self.grid[1]}
        fits = self.image.ndim == 2 and all(getattr(self, name).shape == self.image.shape for name in _ARRAYS)
        inside = fits and all(
            ((values := getattr(self, name)) >= 0).all() and (values < end).all() for name, end in limits.items()
        )
        if not inside:
            raise ValueError(
                f"{path} is damaged: image, row, column and value must be tables of one shape, with images below {self.images} "
                f"and places inside {self.grid}. Search the patches again by top_patches."
            )


def cell_size(image_size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in pixels of a place of a convolutional net, whose stride is a power of two where that fits.

    A net of stride s has ceil(side / s) places: 9 x 7 for 274 x 224 pixels and s = 32. The released code has no size of its
    own; the cell of the stride is the natural one.

    Args:
        image_size: (height, width) in pixels.
        grid: (height, width) in places.
    """
    for stride in (2**power for power in range(12)):
        if all(-(-pixels // stride) == places for pixels, places in zip(image_size, grid, strict=True)):
            return stride, stride
    height, width = (-(-pixels // places) for pixels, places in zip(image_size, grid, strict=True))
    return height, width


def _pair(value: Any) -> tuple[int, int]:
    height, width = value
    return int(height), int(width)
