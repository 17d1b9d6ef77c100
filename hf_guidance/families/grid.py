"""Patch tokens as a grid of places."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor


def tokens_to_grid(tokens: Tensor, prefix: int, image_size: tuple[int, int]) -> Tensor:
    """Lay out patch tokens as a grid of the image's aspect ratio.

    Args:
        tokens: (images, prefix + height * width, channels).
        prefix: Leading tokens without a place in the image (class, distillation, register).
        image_size: (height, width) of the image in pixels, which gives the aspect ratio.

    Returns:
        (images, channels, height, width).

    Raises:
        ValueError: The tokens do not fill a grid of that aspect ratio.
    """
    count = tokens.shape[1] - prefix
    height = _grid_height(count, image_size)
    if height is None:
        raise ValueError(
            f"{tokens.shape[1]} tokens with {prefix} prefix tokens do not fill a grid for an image of "
            f"{image_size[0]}x{image_size[1]}; choose a layer whose output keeps one token per patch."
        )
    patches = tokens[:, prefix:].transpose(1, 2)
    return patches.reshape(*patches.shape[:2], height, count // height)


@lru_cache
def _grid_height(count: int, image_size: tuple[int, int]) -> int | None:
    # Square patches cover the image, which is padded to whole patches (ceil) or cut to them (floor).
    height, width = image_size
    guess = (height * width / max(count, 1)) ** 0.5
    for stride in sorted(range(1, max(image_size) + 1), key=lambda s: abs(s - guess)):
        for rows, columns in ((-(-height // stride), -(-width // stride)), (height // stride, width // stride)):
            if rows * columns == count and count > 0:
                return rows
    return None
