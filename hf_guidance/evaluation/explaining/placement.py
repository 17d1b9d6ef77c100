"""Where what the model sees lies in the image, and maps brought there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from hf_guidance.evaluation.explaining.pixels import grey_picture

Floats = npt.NDArray[np.floating]
_LEVELS = 255  # of a picture
_FLAT = 64  # side of the pictures of one level
_WHITE = 0.98  # what changes less from a black picture to a white one is padding
_SNAP = 0.2  # of a pixel of the model: edges that are so near those of the image are the image's


@dataclass(frozen=True)
class Placement:
    """The part of the image that a grid covers, in pixels of the image; it may reach beyond the image.

    Attributes:
        size: (height, width) of the image.
        top: Upper edge of the grid.
        bottom: Lower edge.
        left: Left edge.
        right: Right edge.
    """

    size: tuple[int, int]
    top: float
    bottom: float
    left: float
    right: float

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Placement:
        """A grid that covers the image."""
        return cls(size, 0.0, float(size[0]), 0.0, float(size[1]))

    def part(self, seen: tuple[float, float]) -> Placement:
        """The part that places cover, of which only the share ``seen`` (height, width) of the pixels has any."""
        bottom = self.top + seen[0] * (self.bottom - self.top)
        return replace(self, bottom=bottom, right=self.left + seen[1] * (self.right - self.left))

    def scaled(self, size: tuple[int, int]) -> Placement:
        """The same part of the image at another size."""
        down, across = size[0] / self.size[0], size[1] / self.size[1]
        return Placement(size, self.top * down, self.bottom * down, self.left * across, self.right * across)

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the pixels of the image that the grid covers, half-open."""
        down, across = _covered(self.top, self.bottom, self.size[0]), _covered(self.left, self.right, self.size[1])
        return (*down, *across)

    def onto_image(self, grid: Floats) -> Floats:
        """A map of the grid on the pixels of the image: bilinear, averaged where the image is smaller, 0 outside the grid.

        Args:
            grid: (height, width) of the grid.

        Returns:
            (height, width) of the image, in the dtype of the grid.
        """
        if grid.shape == self.size and self == Placement.whole(self.size):
            return grid
        rows = _weights(grid.shape[0], self.top, self.bottom, self.size[0]).astype(grid.dtype)
        columns = _weights(grid.shape[1], self.left, self.right, self.size[1]).astype(grid.dtype)
        placed: Floats = rows @ grid @ columns.T
        return placed


def _covered(start: float, stop: float, length: int) -> tuple[int, int]:
    inside = np.flatnonzero(_inside(start, stop, length))
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)


def _inside(start: float, stop: float, length: int) -> npt.NDArray[np.bool_]:
    centers = np.arange(length) + 0.5
    inside: npt.NDArray[np.bool_] = (centers >= min(start, stop)) & (centers <= max(start, stop))
    return inside


@lru_cache(maxsize=8)  # most images of a set are of one size
def _weights(cells: int, start: float, stop: float, length: int) -> npt.NDArray[np.float64]:
    # (pixels, cells): triangles of one cell, or of one pixel if that is larger, as torch's antialiased bilinear has them.
    scale = (stop - start) / cells
    centers = (np.arange(length) + 0.5 - start) / scale - 0.5
    distance = np.abs(np.arange(cells)[None] - centers[:, None]) / max(1.0, 1 / abs(scale))
    weights = np.clip(1 - distance, 0, None) * _inside(start, stop, length)[:, None]
    normalised: npt.NDArray[np.float64] = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
    return normalised


class Placements:
    """Finds where a processor's pixels lie in images, by what becomes of pictures whose levels are coordinates.

    No setting of the processor is read, so whatever it resizes, crops, pads or flips is found.

    Args:
        process: Makes (channels, height, width) of a picture.
        name: What errors call the processor.
    """

    def __init__(self, process: Callable[[Image.Image], Floats], name: str) -> None:
        self._process, self._name = process, name
        self._levels: tuple[float, float] | None = None
        self._found: dict[tuple[int, int], Placement] = {}

    def of(self, size: tuple[int, int]) -> Placement:
        """Where the pixels made of an image of this (height, width) lie in it.

        Raises:
            ValueError: Coordinates do not come out as straight lines.
        """
        if size not in self._found:
            self._found[size] = self._placement(size)
        return self._found[size]

    def _placement(self, size: tuple[int, int]) -> Placement:
        height, width = size
        real = self._unit(np.ones(size)) - self._unit(np.zeros(size)) > _WHITE
        down = np.broadcast_to((np.arange(height)[:, None] + 0.5) / height, size)
        across = np.broadcast_to((np.arange(width)[None] + 0.5) / width, size)
        top, bottom = self._edges(np.where(real, self._unit(down), np.nan), height)
        left, right = self._edges(np.where(real, self._unit(across), np.nan).T, width)
        return Placement(size, top, bottom, left, right)

    def _unit(self, levels: Floats) -> Floats:
        black, white = self._black_and_white()
        unit: Floats = (self._process(grey_picture(levels))[0] - black) / (white - black)
        return unit

    def _black_and_white(self) -> tuple[float, float]:
        if self._levels is None:
            black, white = (self._process(grey_picture(np.full((_FLAT, _FLAT), level)))[0] for level in (0, 1))
            at = int(np.abs(white - black).argmax())  # not in padding, which is the same in both
            self._levels = float(black.flat[at]), float(white.flat[at])
            if self._levels[0] == self._levels[1]:
                raise self._refused("a black and a white picture come out alike")
        return self._levels

    def _edges(self, values: Floats, length: int) -> tuple[float, float]:
        """Edges of the grid along one axis of the image, from the coordinate (lines, others) in [0, 1], NaN at padding."""
        real = np.isfinite(values).any(1)
        if not real.any():
            raise self._refused("a black and a white picture come out alike")
        levels = np.full(len(values), np.nan)
        levels[real] = np.nanmedian(values[real], 1)
        if length < 3 or real.sum() < 3:  # too few levels for a line
            first, last = (int(line) for line in np.flatnonzero(real)[[0, -1]])
            scale = length / (last + 1 - first)
            return -first * scale, (len(values) - first) * scale
        lines, used = np.arange(len(values)) + 0.5, _inner(levels, length)
        slope, start = np.polyfit(lines[used], levels[used] * length, 1)
        wrong = np.nanmax(np.abs(values[used] * length - (start + slope * lines[used])[:, None]))
        if wrong > 2 * length / _LEVELS + 1 or abs(slope) < 1e-6:
            raise self._refused(f"coordinates are off by up to {wrong:.0f} of {length} pixels")
        stop = start + slope * len(values)
        return _snapped(start, length, slope), _snapped(stop, length, slope)

    def _refused(self, found: str) -> ValueError:
        return ValueError(
            f"where the pixels made by {self._name} lie in the image cannot be found: {found}. It may only resize, crop, pad "
            "and scale. Give pixel_values and no processor; maps are then on the pixels of the model."
        )


def _inner(levels: Floats, length: int) -> npt.NDArray[np.bool_]:
    # Interpolation bends the coordinate near the edges of the image: for three pixels of the model, or two of the image.
    step = float(np.nanmedian(np.abs(np.diff(levels))))
    for share in (1.0, 0.5, 0.25):
        margin = share * min(max(2.5 / length, 3 * step), 0.4)
        inner: npt.NDArray[np.bool_] = (levels > margin) & (levels < 1 - margin)  # False at NaN
        if inner.sum() >= 3:
            return inner
    return np.isfinite(levels)


def _snapped(edge: float, length: int, slope: float) -> float:
    return next((float(known) for known in (0, length) if abs(edge - known) < _SNAP * abs(slope)), float(edge))
