"""Layers of models on region features whose places are not boxes but the cells of a grid over the image."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from torch import Tensor

from hf_guidance.families.region_family import RegionFamily


@dataclass(frozen=True)
class CellFamily(RegionFamily):
    """The layout of such a layer: (images, cells, channels), from left to right and row by row, are maps.

    Attributes:
        grid: (height, width) in cells; None: as many rows as columns.
    """

    grid: tuple[int, int] | None = None

    def spatial(self, activation: Tensor, image_size: tuple[int, int] | None) -> Tensor:
        """(images, cells, channels) to (images, channels, height, width).

        Raises:
            ValueError: The activation has another number of axes, or its cells do not fill the grid.
        """
        cells = super().spatial(activation, image_size)
        maps: Tensor = cells.unflatten(2, self._grid_of(cells.shape[2]))
        return maps

    def raw(self, features: Tensor, like: Tensor) -> Tensor:
        """Undo ``spatial``."""
        return super().raw(features.flatten(2), like)

    def blend(self, original: Tensor, keep: Tensor, fill: Tensor, first: bool = False) -> Tensor:
        """As of boxes, with ``keep`` (copies, images or 1, height or 1, width or 1)."""
        return super().blend(original, keep.flatten(2) if keep.dim() == 4 else keep, fill, first)

    def _grid_of(self, cells: int) -> tuple[int, int]:
        height, width = self.grid or (isqrt(cells), isqrt(cells))
        if height * width != cells:
            given = "no square number" if self.grid is None else f"not the grid={self.grid} of the family"
            raise ValueError(
                f"the grid has {cells} cells, {given}; say how many rows and columns it has: "
                "family=dataclasses.replace(family_of(model), grid=(height, width))."
            )
        return height, width
