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
    """Noise, (count, 3, height, width) float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *candidate.size, generator=generator)
