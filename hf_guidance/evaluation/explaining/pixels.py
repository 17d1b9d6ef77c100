"""Pixels for the model: made of a picture by its processor, or given as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hf_guidance.common.generators import generators_kept

PIXELS = "pixel_values"
TRIES = 6  # with different seeds; what goes unnoticed then is the same for all pictures, because all get one seed


@dataclass(frozen=True)
class GivenPixels:
    """One image that was given as the model reads it, (channels, height, width).

    Attributes:
        pixels: The numbers.
        index: Number of the image among those given.
    """

    pixels: Tensor
    index: int

    path = None

    @property
    def name(self) -> str:
        """What figures and files call it."""
        return f"image {self.index}"

    def shown(self) -> Image.Image:
        """The first three channels (or one), each picture stretched to its own range: the normalisation is not known."""
        channels = self.pixels.detach().float().cpu().nan_to_num()
        channels = channels[:3] if len(channels) >= 3 else channels[:1].expand(3, *channels.shape[1:])
        low, high = channels.min(), channels.max()
        unit = (channels - low) / (high - low).clamp_min(1e-12)
        return Image.fromarray((unit * 255).round().to(torch.uint8).movedim(0, -1).contiguous().numpy())


def given_pixels(images: Any) -> tuple[list[GivenPixels], bool]:
    """The images of a tensor one by one, and whether it is a single one.

    Args:
        images: (images, channels, height, width) or (channels, height, width) floating point; or a list of the latter.

    Raises:
        ValueError: Anything else; the message says that files and pictures need a processor.
    """
    if isinstance(images, list | tuple) and images and all(isinstance(image, Tensor) for image in images):
        parts = list(images)
    elif isinstance(images, Tensor) and images.dim() in (3, 4):
        parts = list(images) if images.dim() == 4 else [images]
    else:
        raise ValueError(
            f"images is a {type(images).__name__} and processor is None; give the model's image processor, as "
            "AutoImageProcessor.from_pretrained(...), or pixel_values, a floating tensor (images, channels, height, width)."
        )
    for index, part in enumerate(parts):
        if part.dim() != 3 or not part.is_floating_point() or not part.numel():
            raise ValueError(
                f"image {index} is a tensor of {part.dtype} and shape {tuple(part.shape)}; without a processor give floating "
                "point, (channels, height, width), as the model reads it. For pictures give the processor."
            )
    if not parts:
        raise ValueError("images is empty; give at least one image.")
    return [GivenPixels(part, index) for index, part in enumerate(parts)], getattr(images, "ndim", 0) == 3


def processed(processor: Any, picture: Image.Image, seed: int = 0) -> dict[str, Tensor]:
    """What the processor makes of a picture: ``pixel_values`` (1, channels, height, width), and what else it gives.

    The processor gets a copy, which it may change. What it draws begins with the same seed for every picture, so that it does
    the same to all of one size; the global generators go on as if it had not run.

    Args:
        processor: An image processor of transformers, or a function that makes a tensor (channels, height, width) of a PIL
            image, as torchvision's transforms do.
        picture: The picture, RGB.
        seed: Seed of the global generators.

    Raises:
        ValueError: The result holds no ``pixel_values``.
    """
    own = picture.copy()
    with generators_kept(seed=seed):
        made: Any = processor(images=own, return_tensors="pt") if _of_transformers(processor) else processor(own)
    if isinstance(made, Tensor):
        made = {PIXELS: made[None] if made.dim() == 3 else made}
    found = {name: value for name, value in made.items() if isinstance(value, Tensor)} if _mapping(made) else {}
    if PIXELS not in found:
        raise ValueError(
            f"the processor {type(processor).__name__} made {type(made).__name__} without {PIXELS!r}; give an image processor "
            "of transformers, or a function from a PIL image to a tensor (channels, height, width)."
        )
    return found


def refuse_chance(processor: Any, size: tuple[int, int], tries: int) -> None:
    """Raise if the processor makes different pixels of the same picture, one of noise: a flip of a flat one changes nothing.

    Args:
        processor: As for ``processed``.
        size: (width, height) of the picture: a random crop of exactly its size is none.
        tries: How often it is called, each time with another seed.

    Raises:
        ValueError: It does.
    """
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(noise)
    first = processed(processor, picture)[PIXELS]
    for seed in range(1, tries):
        again = processed(processor, picture, seed)[PIXELS]
        if again.shape != first.shape or not torch.equal(again, first):
            name = getattr(processor, "__name__", type(processor).__name__)
            raise ValueError(
                f"the processor {name} makes other pixels of the same picture each time, as RandomHorizontalFlip and "
                "RandomResizedCrop do. Give the processor of evaluation, which does the same to every picture."
            )


def _of_transformers(processor: Any) -> bool:
    return hasattr(processor, "model_input_names")


def _mapping(made: Any) -> bool:
    return isinstance(made, Mapping) or hasattr(made, "items")


def grey_picture(levels: Any) -> Image.Image:
    """A picture whose three channels hold the same levels, (height, width) in [0, 1]."""
    byte = np.round(np.asarray(levels) * 255).astype(np.uint8)
    return Image.fromarray(np.repeat(byte[..., None], 3, axis=-1))


def stacked(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The columns of several images of one shape, joined."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
