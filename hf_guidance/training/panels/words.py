"""The pictures of a panel of captions: one for each visual word, over the image of its row or over its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_guidance.evaluation.said_words import said_words
from hf_guidance.forward import Forward


def word_titles(collator: Any, rows: tuple[Mapping[str, Any], ...], forward: Forward) -> list[str]:
    """Two lines for each explained row: its caption, and the word with its probability under the model.

    Args:
        collator: Of evaluation; its tokenizer spells the words, where it has one.
        rows: The rows of the batch.
        forward: The step.
    """
    told = said_words(forward, getattr(collator, "tokenizer", None))
    captions = [rows[image].get("caption") for image in forward.row]
    return [
        f"{caption}\n{word.told()}" if isinstance(caption, str) else word.told()
        for caption, word in zip(captions, told, strict=True)
    ]
