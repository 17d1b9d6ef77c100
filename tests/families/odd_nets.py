"""Small image classifiers whose activations lie in unusual ways, and maps of what is where."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = (6, 8)
PATCH = 4
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)


class Lay(nn.Module):
    """Brings maps (images, channels, height, width) to another layout, whatever it is given."""

    def __init__(self, how: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.how = how

    def forward(self, maps: Tensor) -> object:
        return self.how(maps)


class OddNet(nn.Module):
    """Patches, a layer in an odd layout at ``odd``, and a head on the mean of all that ``odd`` puts out."""

    def __init__(self, how: Callable[[Tensor], object], runs: int = 1) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=SIZE, num_channels=3, model_type="odd")
        self.patches = nn.Conv2d(3, 10, PATCH, PATCH)
        self.odd = Lay(how)
        self.head = nn.Linear(10, 3)
        self.runs = runs

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        maps = torch.tanh(self.patches(pixel_values))
        total: Tensor | int = 0
        for _ in range(self.runs):
            out = self.odd(maps)
            for part in [p for p in (out if isinstance(out, tuple) else (out,)) if p.dim()]:
                total = total + (
                    part.flatten(1).sum(1, keepdim=True) if part.shape[-1] != 10 else part.flatten(1, -2).mean(1)
                )
        return {"logits": self.head(total if total.shape[1] == 10 else total.expand(-1, 10))}


def rows_of_tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def columns_of_tokens(maps: Tensor) -> Tensor:
    return maps.transpose(2, 3).flatten(2).transpose(1, 2)


def windows_of_tokens(maps: Tensor) -> Tensor:
    cut = maps.unflatten(2, (2, GRID[0] // 2)).unflatten(4, (2, GRID[1] // 2)).permute(0, 2, 4, 3, 5, 1)
    return cut.flatten(1, 4)


def reversed_tokens(maps: Tensor) -> Tensor:
    return rows_of_tokens(maps).flip(1)


def snake_of_tokens(maps: Tensor) -> Tensor:
    odd = torch.arange(GRID[0])[:, None] % 2 == 1
    return rows_of_tokens(torch.where(odd, maps.flip(3), maps))


def token_before(maps: Tensor) -> Tensor:
    return F.pad(rows_of_tokens(maps), (0, 0, 1, 0), value=1.0)


def token_behind(maps: Tensor) -> Tensor:
    return F.pad(rows_of_tokens(maps), (0, 0, 0, 1), value=1.0)


def channels_last(maps: Tensor) -> Tensor:
    return maps.movedim(1, -1)


def two_branches(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps, maps.square()[..., ::2, ::2]


def one_tensor_twice(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps, maps.mean((2, 3))


def scalar_before(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.square().mean(), maps


class Blocks(nn.Module):
    """A small transformer with a class token: patches, blocks with a first norm and residuals, a head on the class token."""

    def __init__(self, config: object, depth: int = 4, dim: int = 12) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, dim, PATCH, PATCH)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, 2, 2 * dim, 0.0, norm_first=True, batch_first=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 3)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        tokens = torch.cat([self.cls.expand(len(pixel_values), -1, -1), rows_of_tokens(self.patches(pixel_values))], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return {"logits": self.head(self.norm(tokens)[:, 0])}


class Cutting(nn.Module):
    """A net of maps: what it makes of the image, patches, what it makes of them, a mean head."""

    def __init__(self, patch=8, before=None, behind=None, size=64) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=size, num_channels=3, model_type="cutting")
        self.before, self.behind = Lay(before or (lambda images: images)), behind or nn.Identity()
        self.patches = nn.Conv2d(3, 16, patch, patch)
        self.mix = nn.Conv2d(16, 16, 3, 1, 1)
        self.head = nn.Linear(16, 3)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        maps = self.behind(self.mix(torch.tanh(self.patches(self.before(pixel_values)))))
        return {"logits": self.head(torch.tanh(maps).mean((2, 3)))}
