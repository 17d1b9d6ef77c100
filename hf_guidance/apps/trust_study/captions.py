"""write_caption_study: the words of captions, and the captions, as two captioners explain them, as a folder of comparisons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hf_guidance.apps.annotation.items.draft import refuse_full
from hf_guidance.apps.trust_study.write import check_models, write_comparison_folder
from hf_guidance.attributions import Attribution, Gradient, WordLogit
from hf_guidance.evaluation.explaining import WordExplanation, explain_words
from hf_guidance.evaluation.figures import on_pixels

__all__ = ["write_caption_study"]

WHOLE = "the whole caption"
_CELLS = (64, 64)  # of a map of boxes, whatever the size of the image; maps of pixels stay as they are


def write_caption_study(
    models: Mapping[str, Any],
    collator: Any,
    rows: Any,
    folder: str | os.PathLike[str],
    *,
    word: Attribution | None = None,
    caption: Attribution | None = None,
    words_per_caption: int = 1,
    question: str | None = None,
) -> Path:
    """Write the study of R. Selvaraju et al., arXiv 1902.03751, section 7, for two captioners.

    A comparison is a visual word of a caption that people wrote: the map of the word and that of the whole caption, of each
    model. Both models explain the same words, which tells where they look apart from what they would say.

    Args:
        models: Name of each of the two captioners to the captioner.
        collator: A `CaptionCollator`, which says which words are visual.
        rows: A map-style dataset, or a list of rows, with captions and masks, and with images: people see white where a row has
            none.
        folder: Where to write; whole or absent.
        word: How a word is explained; None is ``Gradient(target=WordLogit())``.
        caption: How a caption is explained, as one word of all its tokens; None is ``Gradient(target=WordLogit("sum"))``.
        words_per_caption: The first so many visual words of each caption are asked about.
        question: What is asked.

    Returns:
        The folder.

    Raises:
        ValueError: There are not two models, no caption has a visual word, one is longer than ``collator.max_length``, or rows
            cannot be used, as the collator says; or the folder is not empty.

    Example:
        >>> write_caption_study({"unguided": before, "hint": after}, collator, test.select(range(200)), "trust")
    """
    if words_per_caption < 1:
        raise ValueError(f"words_per_caption={words_per_caption}; give a whole number of at least 1.")
    check_models(models)
    refuse_full(folder)
    method = caption or Gradient(target=WordLogit("sum"))
    by_caption = {name: _whole(model, collator, rows, method) for name, model in models.items()}
    # Copies of the collator, whose counts would be those of two passes.
    by_word = {name: explain_words(model, replace(collator), rows, word) for name, model in models.items()}
    first = next(iter(by_word.values()))
    places = list(_first_of_each(first, words_per_caption))
    if not places:
        raise ValueError(f"none of the {len(rows)} captions has a visual word of which the image has a mask.")
    maps = {
        name: [np.stack([_map(found[place]), _map(by_caption[name][found[place].row])]) for place in places]
        for name, found in by_word.items()
    }
    return write_comparison_folder([_shown(first[place], rows) for place in places], maps, folder, question=question)


def _first_of_each(words: Sequence[WordExplanation], count: int) -> Iterable[int]:
    """Places of the first words of every row."""
    seen: dict[int, int] = {}
    for place, word in enumerate(words):
        seen[word.row] = seen.get(word.row, 0) + 1
        if seen[word.row] <= count:
            yield place


def _whole(model: Any, collator: Any, rows: Any, method: Attribution) -> dict[int, WordExplanation]:
    """The explanation of every caption, by the number of its row."""
    whole = replace(collator, explain="caption")
    found = {one.row: one for one in explain_words(model, whole, rows, method)}
    if cut := whole.counts["captions cut at max_length"]:
        raise ValueError(
            f"{cut} of {len(rows)} captions have more than max_length={collator.max_length} tokens, so they cannot be "
            "explained as a whole; give a collator with a larger max_length, or leave these rows out."
        )
    return found


def _map(word: WordExplanation) -> npt.NDArray[np.floating[Any]]:
    return word.attribution if word.boxes is None else on_pixels(word.attribution, word.boxes, _CELLS)


def _shown(word: WordExplanation, rows: Any) -> dict[str, Any]:
    """The row of a comparison."""
    told = rows[word.row].get("caption_id")
    image = Image.fromarray((255 * np.asarray(word.image)).round().astype(np.uint8))
    name = f"{word.row if told is None else told}:{word.time}"
    return {"image": image, "image_id": name, "text": word.caption, "parts": [word.word.text, WHOLE]}
