"""word_figure: where several models look for the same words of captions, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_guidance.evaluation.explaining.words import WordExplanation
from hf_guidance.evaluation.figures import Panel, on_pixels, panel_figure

_LETTERS = 30  # of a line of text above a panel


def word_figure(
    models: Mapping[str, Sequence[WordExplanation]], title: str = "", *, overlap: str = "mean", side: float = 2.0
) -> Any:
    """A matplotlib Figure with a line for each word: the image, where people see it, and the map of each model.

    Red places speak for the word, blue ones against it, and red is where people see it. Each map is drawn to its own largest
    value, since gradients of two models have no common scale. A pixel in several boxes has the mean of their values, or their
    sum (``overlap``). Above a map stands the probability that its model gives the word, and what it would rather say.

    Args:
        models: Name of a model -> what `explain_words` found, of the same words in the same order for all.
        title: Text above the figure.
        overlap: "mean" or "sum".
        side: Width of a panel in inches.

    Raises:
        ValueError: There is no model or no word, models are about other words, or an unknown ``overlap``.

    Example:
        >>> before = explain_words(untrained, collator, rows)
        >>> word_figure({"before": before, "after": explain_words(model, collator, rows)}).savefig("words.png")
    """
    first, columns = _checked(models)
    lines = []
    for place, word in enumerate(first):
        size = (word.image.shape[0], word.image.shape[1])
        line = [Panel(word.image, title="\n".join(textwrap.wrap(word.caption, _LETTERS)))]
        line.append(Panel(word.image, map=_people(word, size, overlap), title=f"“{word.word.text}”\npeople"))
        for name, found in columns.items():
            shown, told = found[place].on_image(overlap), found[place].word.told()
            line.append(Panel(word.image, map=shown, title=f"{name}\n{told}"))
        lines.append(line)
    return panel_figure(lines, title, side)


def _checked(
    models: Mapping[str, Sequence[WordExplanation]],
) -> tuple[Sequence[WordExplanation], Mapping[str, Sequence[WordExplanation]]]:
    if not models or not any(len(found) for found in models.values()):
        raise ValueError("there is no word to draw; give {name: explain_words(...)} of captions with visual words.")
    words = {name: [(one.row, one.caption, one.time) for one in found] for name, found in models.items()}
    first = next(iter(words))
    if other := [name for name in words if words[name] != words[first]]:
        raise ValueError(
            f"{first!r} explains other words than {other[0]!r}; give explain_words() of both the same rows and collator."
        )
    return models[first], models


def _people(word: WordExplanation, size: tuple[int, int], overlap: str) -> Any:
    """Where people see the word: their mask, or else the importance that is made of it."""
    if word.mask is not None and word.boxes is not None:
        return on_pixels(word.mask, None, size)
    if word.importance is None:
        return np.zeros(size)
    return on_pixels(word.importance, word.boxes, size, overlap)
