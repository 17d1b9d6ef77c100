"""Random crops and flips that carry boxes and masks along."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_guidance.data.images.hard_masks import is_hard, sharpened


@dataclass(frozen=True)
class RandomCropAndFlip:
    """Random crop, resized to one size and mirrored at random; for `GuidanceCollator.transform`.

    Area and aspect ratio are drawn as by torchvision's RandomResizedCrop. Image and importance are cropped alike and
    resized by the same bilinear interpolation, so they agree to the pixel, and a thin box does not vanish (torchvision
    resizes a tv_tensors.Mask by nearest neighbour, which shifts masks and may lose them). What the crop cuts away is lost:
    an (image, class) pair whose importance is empty afterwards is not annotated. Random numbers come from torch's global
    generator.

    For training only: the trainer evaluates with ``collator.for_evaluation()``, which has no transform.

    Args:
        size: (height, width) of the result, or one number for both; best the size that the image processor makes.
        scale: Least and largest share of the image's area, in (0, 1].
        ratio: Least and largest width / height of the part.
        flip: Probability of mirroring, in [0, 1].

    Raises:
        ValueError: An option is out of its range.

    Example:
        >>> collator = GuidanceCollator(image_processor, num_labels=2, transform=RandomCropAndFlip(224))
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __post_init__(self) -> None:
        sides = self._size()
        if len(sides) != 2 or any(not isinstance(side, int) or isinstance(side, bool) for side in sides):
            raise ValueError(
                f"size={self.size!r}; give a height and a width in pixels, as (224, 224), or one whole number."
            )
        if min(sides) < 1:
            raise ValueError(f"size={self.size} is not positive; give a height and a width in pixels, or one number.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale={self.scale}: allowed are 0 < least <= largest <= 1, shares of the image's area.")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"ratio={self.ratio}: allowed are 0 < least <= largest, width / height; swap the two?")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip={self.flip} is outside [0, 1]; 0.5 mirrors every other image.")

    def _size(self) -> tuple[int, int]:
        return self.size if isinstance(self.size, list | tuple) else (self.size, self.size)

    def __call__(self, image: Any, masks: Tensor) -> tuple[Any, Tensor]:
        """Crop, resize and mirror.

        Args:
            image: PIL image, or (channels, height, width).
            masks: (pairs, height, width) uint8, 0 to 255; pairs may be 0.

        Returns:
            The image and the masks, (pairs, height, width) uint8, of ``size``.
        """
        from torchvision import tv_tensors  # imported here: torchvision is slow to import and rarely needed
        from torchvision.transforms import v2
        from torchvision.transforms.v2 import functional as F

        part = v2.RandomResizedCrop(self._size(), self.scale, self.ratio).make_params([image])
        mirror = float(torch.rand(())) < self.flip
        image = F.resized_crop(image, size=list(self._size()), **part)
        found = masks.as_subclass(Tensor)
        cut = torch.zeros(0, *self._size(), dtype=torch.uint8)
        if len(found):
            cut = F.resized_crop(found, size=list(self._size()), **part)
            sharp = sharpened(cut.float() / 255).to(torch.uint8) * 255
            cut = torch.where(is_hard(found)[:, None, None], sharp, cut)
        if mirror:
            image, cut = F.horizontal_flip(image), cut.flip(-1)
        return image, tv_tensors.Mask(cut)
