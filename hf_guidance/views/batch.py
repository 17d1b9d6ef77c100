"""Batch: what a keep may ask of the step whose features it edits. Forward has these methods; views do not import it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from torch import Tensor

IMPORTANCE = "importance"
"""Name of the column with human importance that keeps, Replace functions and objectives read unless told otherwise."""


class Batch(Protocol):
    """The batch of one step, as keeps see it."""

    @property
    def images(self) -> int:
        """Number of images."""

    def importance(self, column: str, space: Iterable[int] | None = None) -> Tensor:
        """Human importance of the explained rows, brought to the size ``space``: (rows, *space) in [0, 1]."""

    def of_images(self, values: Tensor) -> Tensor:
        """Values of the explained rows (rows, ...) as values of the images (images, ...)."""

    def of_rows(self, values: Tensor) -> Tensor:
        """Values of the images (images, ...) as values of the explained rows (rows, ...)."""

    def real_places(self, space: tuple[int, ...]) -> Tensor | None:
        """(images, *space) bool, False at padding; None where there is no padding."""

    def attribution(self, method: Any) -> Tensor:
        """The map of an attribution method on the full input, (rows, *space)."""
