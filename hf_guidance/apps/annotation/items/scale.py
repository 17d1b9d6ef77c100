"""Scale: the answers that a page takes, their buttons and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hf_guidance.data.images.yes_no import WORDS

__all__ = ["COMPARISON", "YES_NO", "Choice", "Scale"]

BACK = "b"  # the key that goes back to the item before


@dataclass(frozen=True)
class Choice:
    """One answer.

    Attributes:
        word: What is kept.
        label: What stands on its button.
        key: The key that presses it.
    """

    word: str
    label: str
    key: str


@dataclass(frozen=True)
class Scale:
    """The answers to a question.

    Attributes:
        title: Of the page.
        choices: The answers, in the order of the buttons.
        unsure: The answer where something cannot be told, or None: then nothing is kept about an item that cannot be shown.
        level: Level of measurement, by which agreement is worked out: "nominal" words, or "ordinal" whole numbers.
        mirrored: Answer to its mirror image, where the question is about two things side by side whose places are drawn:
            what was said of the left one, said of the right one. Empty where there is one thing.
    """

    title: str
    choices: tuple[Choice, ...]
    unsure: str | None
    level: Literal["nominal", "ordinal"]
    mirrored: Mapping[str, str]

    @property
    def words(self) -> tuple[str, ...]:
        """The answers as they are kept."""
        return tuple(choice.word for choice in self.choices)

    def label(self, word: str) -> str:
        """What stands on the button of an answer."""
        return next(choice.label for choice in self.choices if choice.word == word)

    def turned(self, word: str, swapped: bool) -> str:
        """An answer about things side by side as one about things in their own order, and the other way round."""
        return self.mirrored.get(word, word) if swapped else word


YES_NO = Scale(
    "Yes or no",
    tuple(Choice(word, label, key) for word, label, key in zip(WORDS, ("Yes", "No", "Unsure"), "ynu", strict=True)),
    "maybe",
    "nominal",
    {},
)
"""Of one map: does the model look at the right thing?"""

_POINTS = ("Model 1 clearly", "Model 1 slightly", "Equal", "Model 2 slightly", "Model 2 clearly")
COMPARISON = Scale(
    "Which model looks at more reasonable places?",
    tuple(Choice(str(number - 3), label, str(number)) for number, label in enumerate(_POINTS, 1)),
    None,
    "ordinal",
    {str(points): str(-points) for points in range(-2, 3)},
)
"""Of the maps of two models: -2 where the first is clearly better, to 2 for the second (HINT, section 7: five-point Likert)."""
