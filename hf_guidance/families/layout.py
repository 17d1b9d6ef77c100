"""Layout: how the activation of one layer maps to places of the image."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layout:
    """How an activation maps to places.

    Attributes:
        channel_axis: 1 for maps (images, channels, height, width); -1 for channels last, in maps (images, height, width,
            channels) or tokens (images, tokens, channels). Tokens are in raster order: row by row, each from left to right.
        prefix_tokens: Leading tokens without a place in the image (class, distillation, register).
        patch: (height, width) in pixels of the part of the image that belongs to one place, for nets that cut the image into
            patches that touch; None where a place has no such part, as behind convolutions that overlap. Places times
            patch may be less than the image (what is left over at its lower and right edge is not seen) or more (the image
            was padded there).
    """

    channel_axis: int = 1
    prefix_tokens: int = 0
    patch: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.channel_axis not in (1, -1):
            raise ValueError(
                f"channel_axis={self.channel_axis!r}: give 1 for (images, channels, height, width), or -1 for channels last."
            )
        if isinstance(self.prefix_tokens, bool) or not isinstance(self.prefix_tokens, int) or self.prefix_tokens < 0:
            raise ValueError(f"prefix_tokens={self.prefix_tokens!r}: give a whole number, 0 or more.")
        if self.patch is not None:
            object.__setattr__(self, "patch", _patch(self.patch))


def _patch(given: Any) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in given)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1 or any(isinstance(side, bool) for side in given):
        raise ValueError(
            f"patch={given!r}: give the (height, width) of a place in pixels, two whole numbers of 1 or more, or None."
        )
    return height, width
