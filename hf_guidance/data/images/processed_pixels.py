"""Images of a batch, and maps of their pixels, after the image processor of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hf_guidance.data.images.hard_masks import is_hard, sharpened
from hf_guidance.data.images.photo import photo


class ProcessedPixels:
    """What an image processor makes of images, and of maps of their pixels, so that resizing and cropping agree.

    Args:
        image_processor: Called as ``image_processor(images=[...], return_tensors="pt")``; None when rows hold
            ``pixel_values``.
    """

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor
        self._levels: tuple[float, float] | None = None

    def of(self, images: Sequence[Any]) -> Tensor:
        """The pixels of images, (images, channels, height, width).

        Raises:
            ValueError: Some are tensors, which need no processor, and some are not.
        """
        if all_tensors(images):
            return torch.stack(list(images))
        if any(isinstance(image, Tensor) for image in images):
            raise ValueError("a batch mixes rows with pixel_values and rows with images; give every row the same.")
        pixels: Tensor = self.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels

    def importance(self, masks: Sequence[Tensor], size: Sequence[int], ready: bool) -> Tensor:
        """Masks as the processor would have them: (masks, height, width) float32 in [0, 1].

        Args:
            masks: Each (height, width) uint8 of 0 to 255, in the size of its image.
            size: Height and width of the processed images.
            ready: Whether the images are tensors already, whose masks have their size.
        """
        importance = torch.zeros(len(masks), *size, dtype=torch.float32)
        filled = [index for index, mask in enumerate(masks) if mask.any()]
        if not filled:
            return importance
        if ready:  # the pixels did not go through the processor, so the masks already have their size
            importance[filled] = torch.stack([masks[index] for index in filled]).float() / 255
            return importance
        pictures = [Image.fromarray(masks[index].numpy()).convert("RGB") for index in filled]
        black, white = self._black_and_white()
        grey = ((self.of(pictures)[:, 0].float() - black) / (white - black)).clamp(0, 1)
        # Boxes and masks are hard: where the processor's interpolation blurs an edge, a pixel of at least 0.5 is inside.
        hard = torch.cat([is_hard(masks[index][None]) for index in filled])
        importance[filled] = torch.where(hard[:, None, None], sharpened(grey).float(), grey)
        return importance

    def _black_and_white(self) -> tuple[float, float]:
        # What the processor makes of a black and of a white image shows how it scales and normalises, whatever its settings.
        if self._levels is None:
            flat = [Image.new("RGB", (64, 64), colour) for colour in ("black", "white")]
            black, white = self.of(flat)[:, 0].float().flatten(1).median(1).values.tolist()
            self._levels = (black, white)
        return self._levels


def row_pixels(row: Mapping[str, Any], name: str, image_processor: Any) -> tuple[Any, tuple[int, int]]:
    """The image of a row, or its ``pixel_values``, and its (height, width).

    Args:
        row: The dataset row.
        name: Names the row in errors.
        image_processor: That of the collator.

    Raises:
        ValueError: The row has neither ``pixel_values`` nor an image that the processor could read, or there is no processor.
    """
    if "pixel_values" in row:
        pixels = torch.as_tensor(row["pixel_values"])
        return pixels, (int(pixels.shape[-2]), int(pixels.shape[-1]))
    if image_processor is None:
        raise ValueError(
            f"{name} has no pixel_values and the collator no image_processor; give one of the two, such as the model's: "
            "AutoImageProcessor.from_pretrained(...), or for B-cos, which reads six channels, BcosImageProcessor()."
        )
    image = photo(row, name)
    return image, (image.height, image.width)


def all_tensors(images: Sequence[Any]) -> bool:
    """Whether the images are tensors, which need no processor."""
    return all(isinstance(image, Tensor) for image in images)
