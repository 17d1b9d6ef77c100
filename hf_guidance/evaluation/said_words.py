"""The words of captions that the explained rows of a batch are about: as text, and how sure the model is of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_guidance.data.columns import TARGET, WORD_TOKENS
from hf_guidance.families.words import words_of
from hf_guidance.forward import Forward


@dataclass(frozen=True)
class SaidWord:
    """A word of a caption.

    Attributes:
        text: As the vocabulary has it.
        before: The caption up to the word, likewise.
        probability: Of its tokens, each after those before it (teacher forcing): their product.
        instead: What the model would rather say there, its most probable token; None if that begins the word.
        instead_probability: Of that token; of the first one of the word where there is no other.
    """

    text: str
    before: str
    probability: float
    instead: str | None
    instead_probability: float

    def told(self) -> str:
        """One line: "circle 0.93", and what the model would rather say: "circle 0.12 → square 0.60"."""
        rather = "" if self.instead is None else f" → {self.instead} {self.instead_probability:.2f}"
        return f"{self.text} {self.probability:.2f}{rather}"


def said_words(forward: Forward, tokenizer: Any) -> list[SaidWord]:
    """The word of each explained row.

    Args:
        forward: A step whose rows have a ``time``.
        tokenizer: As for `word_text`.

    Returns:
        (rows,) words.
    """
    shares = forward.logits().detach().float().softmax(-1).cpu()  # (images, times, vocabulary)
    rows, times = (index.tolist() for index in forward.rows_and_times())
    column = WORD_TOKENS if WORD_TOKENS in forward.batch else TARGET
    tokens = forward.column(column).cpu().reshape(len(rows), -1).tolist()
    read = forward.batch[words_of(forward.family.inputs) or "input_ids"].cpu()
    return [
        _said(
            shares[row, time:],
            read[row, 1 : time + 1].tolist(),  # behind the token of the beginning
            [token for token in word if token >= 0],
            tokenizer,
        )
        for row, time, word in zip(rows, times, tokens, strict=True)
    ]


def word_text(tokens: Sequence[int], tokenizer: Any) -> str:
    """Tokens as text.

    Args:
        tokens: Their numbers.
        tokenizer: That of the captions; None gives the numbers, as "#12".
    """
    if tokenizer is None:
        return " ".join(f"#{token}" for token in tokens)
    return str(tokenizer.decode(list(tokens))).strip()


def _said(shares: Tensor, before: Sequence[int], tokens: Sequence[int], tokenizer: Any) -> SaidWord:
    places = torch.arange(min(len(tokens), len(shares)))
    probability = float(shares[places, torch.tensor(tokens)[places]].prod())
    first = int(shares[0].argmax())
    instead = None if first == tokens[0] else word_text([first], tokenizer)
    return SaidWord(
        word_text(tokens, tokenizer), word_text(before, tokenizer), probability, instead, float(shares[0, first])
    )
