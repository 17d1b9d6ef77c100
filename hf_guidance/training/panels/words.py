"""The titles of a panel of captions, of which every visual word is a picture."""

from __future__ import annotations

from typing import Any

from hf_guidance.evaluation.said_words import said_words
from hf_guidance.forward import Forward

_LETTERS = 46


def word_titles(collator: Any, forward: Forward) -> list[str]:
    """Two lines for each explained row: the caption up to the word, and the word with its probability under the model.

    Args:
        collator: Of evaluation; its tokenizer spells the words, where it has one.
        forward: The step.
    """
    told = said_words(forward, getattr(collator, "tokenizer", None))
    return [f"{_end_of(f'{word.before} {word.text}')}\n{word.told()}" for word in told]


def _end_of(text: str) -> str:
    """The last letters of a text, from the beginning of a word on."""
    text = text.strip()
    return text if len(text) <= _LETTERS else f"… {text[-_LETTERS:].partition(' ')[2]}"
