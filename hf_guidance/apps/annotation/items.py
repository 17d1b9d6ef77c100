"""What the page asks about: an image with the map of a model, or with the patch of a neuron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["MAP_QUESTION", "PATCH_QUESTION", "Box", "Item", "Items"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the image."""
MAP_QUESTION = "Does the model look at the right thing?"
PATCH_QUESTION = "Does the red rectangle show the right thing?"


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: Its name, the only one of this name.
        image: PIL image in RGB.
        map: (h, w) floating-point numbers, where the model looks; those that are negative or undefined are drawn as zero. None
            of a patch.
        box: The patch, a rectangle in pixels of the image; None of a map.
        question: What is asked.
    """

    id: str
    image: Any
    map: npt.NDArray[np.floating[Any]] | None
    box: Box | None
    question: str


class Items(Protocol):
    """All questions, in the order of the data set.

    Attributes:
        ids: Their names.
        fingerprint: Tells them from other ones, so that answers are never mixed.
    """

    @property
    def ids(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> Item: ...
