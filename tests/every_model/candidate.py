"""Candidate: one model to be tried, and the columns that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CLASSES = 3


def pixels_alone(images: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": images}


@dataclass(frozen=True)
class Candidate:
    """One model to be tried.

    Attributes:
        source: "timm" or "transformers".
        kind: The module of timm or the model type of transformers that it stands for.
        name: The model of timm, or the class of transformers.
        size: (height, width) of its images.
        make: Makes it with random weights; its logits have ``CLASSES`` classes.
        columns: Brings images (images, 3, height, width) to the columns that its forward takes.
    """

    source: str
    kind: str
    name: str
    size: tuple[int, int]
    make: Callable[[], nn.Module]
    columns: Callable[[Tensor], Mapping[str, Tensor]] = pixels_alone

    @property
    def key(self) -> str:
        return f"{self.source}/{self.kind}/{self.name}"

    def build(self) -> nn.Module:
        """The model in evaluation mode, the same in every process."""
        torch.manual_seed(0)
        return self.make().eval()


def images_of(candidate: Candidate, count: int, seed: int = 0) -> Tensor:
    """Images (count, 3, height, width) float32 of mean 0 and deviation 1."""
    return clouds(count, candidate.size, seed)


def clouds(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Noise of all wavelengths, as in photographs.

    Of plain noise, deep layers see its mean alone, the same everywhere; a net fitted to that takes any change for enormous.
    """
    return torch.stack([_cloud(size, torch.Generator().manual_seed(1000 * seed + index)) for index in range(count)])


def _cloud(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    total = torch.zeros(3, *size)
    cell = max(size) // 2
    while cell:
        coarse = torch.randn(3, -(-size[0] // cell) + 1, -(-size[1] // cell) + 1, generator=generator)
        fine = nn.functional.interpolate(coarse[None], scale_factor=cell, mode="bilinear")[0] if cell > 1 else coarse
        total += fine[:, : size[0], : size[1]]
        cell //= 2
    return (total - total.mean()) / total.std()
