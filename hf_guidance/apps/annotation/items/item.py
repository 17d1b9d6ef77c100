"""What the page asks about: an image and a question, with whatever is shown beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from PIL import Image

from hf_guidance.apps.annotation.items.scale import Scale

__all__ = ["Box", "Group", "Item", "Items"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the image."""


class Group(NamedTuple):
    """Pictures that belong together.

    Attributes:
        heading: What stands above them; empty for nothing.
        pictures: Captions and RGB images.
    """

    heading: str
    pictures: list[tuple[str, Image.Image]]


@dataclass(frozen=True)
class Item(ABC):
    """One question.

    Attributes:
        id: Its name, the only one of this name.
        image: PIL image in RGB.
        question: What is asked.
        text: What is said of the image, such as a caption; empty for nothing.
    """

    id: str
    image: Any
    question: str
    text: str

    @abstractmethod
    def groups(self, swapped: bool = False) -> list[Group]:
        """What is shown.

        Args:
            swapped: Whether two things that are compared change places.

        Returns:
            Groups of pictures, none larger than 320 pixels.
        """


class Items(Protocol):
    """All questions, in the order of the data set.

    Attributes:
        ids: Their names.
        fingerprint: Tells them from other ones, so that answers are never mixed.
        scale: The answers that they take.
    """

    @property
    def ids(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def scale(self) -> Scale: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> Item: ...
