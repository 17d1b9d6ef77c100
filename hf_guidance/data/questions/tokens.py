"""How many tokens of a question are read, and which questions are cut."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

USUAL = 14  # UpDn's and VisFIS' length
_LONG = 64  # tokens: no set of questions is that long, so a tokenizer that allows more was not made for questions
_UNLIMITED = 10**12  # transformers gives tokenizers without a limit a length of 1e20 or 1e30


def token_options(tokenizer: Any, max_length: int | None, padding: str | None) -> tuple[int, str]:
    """The length and the padding that are meant where they are not given.

    Args:
        tokenizer: Its ``model_max_length`` is taken where it has one.
        max_length: Tokens of a question, or None.
        padding: "max_length", "longest", or None.

    Returns:
        Both, as `QuestionCollator` describes them.

    Raises:
        ValueError: ``max_length`` is not a whole number of at least 1.
    """
    own: Any = getattr(tokenizer, "model_max_length", None)
    real = isinstance(own, Integral) and 1 <= int(own) < _UNLIMITED
    length: Any = (own if real else USUAL) if max_length is None else max_length
    if not isinstance(length, Integral) or isinstance(length, bool) or int(length) < 1:
        raise ValueError(f"max_length={length!r} leaves no token; give a whole number of at least 1, for example 14.")
    unasked = max_length is None and int(length) > _LONG
    return int(length), padding or ("longest" if unasked else "max_length")


def cut_questions(tokenizer: Any, questions: Sequence[str], mask: Any, max_length: int) -> list[int]:
    """Indices of the questions of which tokens were left out.

    Args:
        tokenizer: The one that made ``mask`` with ``truncation=True, max_length=max_length``.
        questions: The questions.
        mask: (questions, length) attention mask, 1 where a token is.
        max_length: See above.
    """
    full = [index for index, count in enumerate(mask.sum(1).tolist()) if count >= max_length]
    if not full:
        return []
    # Only a question that fills its length can be cut; whether it is, one token more shows.
    longer = tokenizer(
        [questions[index] for index in full],
        padding="longest", truncation=True, max_length=max_length + 1, return_tensors="pt",
    )["attention_mask"]  # fmt: skip
    return [index for index, count in zip(full, longer.sum(1).tolist(), strict=True) if count > max_length]
