"""MapItem: an image, the map of a model over it, and the map alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.apps.annotation.items.item import Group, Item
from hf_guidance.apps.annotation.items.pictures import fitted, map_alone, map_over

__all__ = ["MAP_QUESTION", "MapItem"]

MAP_QUESTION = "Does the model look at the right thing?"


@dataclass(frozen=True)
class MapItem(Item):
    """A question about where a model looks.

    Attributes:
        map: (h, w) floating-point numbers; those that are negative or undefined are drawn as zero.
    """

    map: npt.NDArray[np.floating[Any]]

    def groups(self, swapped: bool = False) -> list[Group]:
        """The image, the map over it, the map alone."""
        image, _ = fitted(self.image)
        shown = [
            ("the image", image),
            ("where the model looks", map_over(image, self.map)),
            ("the map alone", map_alone(image.size, self.map)),
        ]
        return [Group("", shown)]
