"""PatchItem: an image with the patch of a neuron as a red rectangle."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageDraw

from hf_guidance.apps.annotation.items.item import Box, Group, Item
from hf_guidance.apps.annotation.items.pictures import fitted

__all__ = ["PATCH_QUESTION", "PatchItem"]

PATCH_QUESTION = "Does the red rectangle show the right thing?"


@dataclass(frozen=True)
class PatchItem(Item):
    """A question about a patch.

    Attributes:
        box: The patch, a rectangle in pixels of the image.
    """

    box: Box

    def groups(self, swapped: bool = False) -> list[Group]:
        """The image, and the image with the rectangle."""
        image, scale = fitted(self.image)
        drawn = image.copy()
        left, top, right, bottom = (round(side * scale) for side in self.box)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        ImageDraw.Draw(drawn).rectangle(corners, outline=(255, 0, 0), width=3)
        return [Group("", [("the image", image), ("the patch", drawn)])]
