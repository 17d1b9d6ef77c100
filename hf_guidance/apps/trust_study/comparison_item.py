"""ComparisonItem: an image, and the maps of two models side by side, without their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.apps.annotation.items.item import Group, Item
from hf_guidance.apps.annotation.items.pictures import fitted, map_over

__all__ = ["QUESTION", "ComparisonItem"]

QUESTION = "Which model looks at more reasonable places?"


@dataclass(frozen=True)
class ComparisonItem(Item):
    """A question about the maps of two models.

    Attributes:
        maps: (2 models, parts, h, w) floating-point numbers; those that are negative or undefined are drawn as zero, and each
            map is drawn by its own highest value.
        parts: What each map of a model explains, such as a word and the whole caption.
    """

    maps: npt.NDArray[np.floating[Any]]
    parts: tuple[str, ...]

    def groups(self, swapped: bool = False) -> list[Group]:
        """The image, the maps of one model over it, those of the other; the second model comes first where ``swapped``."""
        image, _ = fitted(self.image)
        groups = [Group("", [("the image", image)])]
        for number, maps in enumerate(self.maps[::-1] if swapped else self.maps, 1):
            pictures = [(part, map_over(image, values)) for part, values in zip(self.parts, maps, strict=True)]
            groups.append(Group(f"Model {number}", pictures))
        return groups
