"""Controls: importance of the right size at a random place, which true importance must beat."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def control_generator(seed: int, image_id: str, target: int) -> np.random.Generator:
    """A generator that depends only on the seed, the image and the class: the same places in every epoch and process."""
    return np.random.default_rng([seed, zlib.crc32(image_id.encode()), target])


def moved_boxes(
    boxes: Sequence[Sequence[float]], size: tuple[int, int], generator: np.random.Generator
) -> list[list[float]]:
    """Move every box to a uniformly random place inside the image; its width and height stay.

    Args:
        boxes: (n, 4) xyxy in pixels.
        size: (height, width) of the image.
        generator: Source of the places.
    """
    moved = []
    for xmin, ymin, xmax, ymax in boxes:
        width, height = xmax - xmin, ymax - ymin
        left = float(generator.integers(0, max(0, int(size[1] - width)) + 1))
        top = float(generator.integers(0, max(0, int(size[0] - height)) + 1))
        moved.append([left, top, left + width, top + height])
    return moved


def moved_mask(mask: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Move the content of a mask, as one block, to a uniformly random place; an empty mask stays empty.

    A mask that reaches all edges of the image, such as everything outside a box, cannot be moved as a block: its hole is
    moved instead. Where the hole reaches all edges too, as in a map without zeros, the mask is shifted and wraps around the
    edges.

    Args:
        mask: (height, width), zero outside.
        generator: Source of the place.
    """
    if not _fills(mask):
        return _moved_block(mask, generator)
    top = mask.max()
    hole = top - mask
    if not _fills(hole):
        return np.asarray(top - _moved_block(hole, generator), dtype=mask.dtype)
    return np.roll(mask, (int(generator.integers(mask.shape[0])), int(generator.integers(mask.shape[1]))), (0, 1))


def _reach(mask: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))


def _fills(mask: npt.NDArray[np.uint8]) -> bool:
    rows, columns = _reach(mask)
    return bool(len(rows)) and (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == mask.shape


def _moved_block(mask: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    rows, columns = _reach(mask)
    if not len(rows):
        return mask
    block = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top = int(generator.integers(0, mask.shape[0] - block.shape[0] + 1))
    left = int(generator.integers(0, mask.shape[1] - block.shape[1] + 1))
    moved = np.zeros_like(mask)
    moved[top : top + block.shape[0], left : left + block.shape[1]] = block
    return moved
