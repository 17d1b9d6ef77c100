"""RunningTop: the largest values of every channel over a stream of images, in memory that does not grow with the images."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningTop:
    """The images with the largest maximum over places, per channel, and where in the image it lies.

    For channel k and image n, v_nk = max over places of h_nk, at the first place that has it. The ``top`` images with the
    largest v are kept, in decreasing order; of equal ones the earlier image comes first. Beside them nothing is kept of a
    batch that was seen.

    Args:
        top: Images per channel, at least 1.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self.images = 0
        self.grid: tuple[int, int] | None = None
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def update(self, activation: Tensor) -> None:
        """Add the activations of the next images.

        Args:
            activation: (images, channels, height, width), floating point.

        Raises:
            ValueError: NaN or infinity, or another grid or number of channels than before.
        """
        grid = (int(activation.shape[2]), int(activation.shape[3]))
        if self.grid is not None and grid != self.grid:
            raise ValueError(
                f"images after the first {self.images} have a grid of {grid} places, those before of {self.grid}: let the "
                "image processor bring all images to one size."
            )
        if not torch.isfinite(activation).all():
            raise ValueError(
                f"activations of images {self.images} to {self.images + len(activation) - 1} hold NaN or infinity; has the "
                "model diverged, or does its dtype overflow? Try model.float()."
            )
        value, cell = activation.flatten(2).max(2)
        index = torch.arange(self.images, self.images + len(value), device=value.device)[:, None].expand_as(cell)
        new = (value.T, index.T, cell.T)
        merged = new if self._kept is None else tuple(torch.cat(pair, 1) for pair in zip(self._kept, new, strict=True))
        order = merged[0].argsort(stable=True, dim=1, descending=True)[:, : self._top]
        first, second, third = (part.gather(1, order) for part in merged)
        self._kept = first, second, third
        self.images, self.grid = self.images + len(value), grid

    def result(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values, and images, rows and columns of their places: (channels, ranks) each, on the host.

        Raises:
            ValueError: No image was added.
        """
        if self._kept is None or self.grid is None:
            raise ValueError(
                "batches holds no image; give at least one, and a DataLoader or list: an iterator runs out."
            )
        value, index, cell = (part.cpu() for part in self._kept)
        return value, index, cell // self.grid[1], cell % self.grid[1]
