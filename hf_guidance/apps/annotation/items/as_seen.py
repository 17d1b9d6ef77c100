"""AsSeen: the part of a picture that a model sees, so that its maps and patches lie right on it."""

from __future__ import annotations

from typing import Any

from PIL import Image

from hf_guidance.evaluation.explaining.pixels import PIXELS, processed
from hf_guidance.evaluation.explaining.placement import Placements

Corners = tuple[float, float, float, float]


class AsSeen:
    """Cuts pictures to what is left of them when a processor crops; parts that it pads are black.

    Args:
        processor: The model's image processor; None where the model sees whole pictures.

    Raises:
        ValueError: On use, if the processor turns or bends pictures so that coordinates do not come out as straight lines.
    """

    def __init__(self, processor: Any = None) -> None:
        self._processor = processor
        self._pixels: dict[tuple[int, int], tuple[int, int]] = {}
        self._places = Placements(self._made, type(processor).__name__)

    def _made(self, picture: Image.Image) -> Any:
        return processed(self._processor, picture)[PIXELS][0].double().cpu().numpy()

    def picture(self, picture: Image.Image) -> Image.Image:
        """The part of a picture that the model sees, at the picture's own scale; mirrored where the processor does so."""
        if self._processor is None:
            return picture
        place = self._places.of((picture.height, picture.width))
        left, right = sorted((round(place.left), round(place.right)))
        top, bottom = sorted((round(place.top), round(place.bottom)))
        seen = picture.crop((left, top, right, bottom))
        if place.right < place.left:
            seen = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return seen.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if place.bottom < place.top else seen

    def box(self, box: Corners, picture: Image.Image, seen: Image.Image) -> Corners:
        """A box of the model's pixels, in those of the seen part of the picture.

        Args:
            box: (left, top, right, bottom).
            picture: The picture.
            seen: What ``picture(picture)`` returned.
        """
        if self._processor is None:
            return box
        if picture.size not in self._pixels:
            self._pixels[picture.size] = self._made(picture).shape[-2:]
        height, width = self._pixels[picture.size]
        across, down = seen.width / width, seen.height / height
        left, top, right, bottom = box
        return left * across, top * down, right * across, bottom * down
