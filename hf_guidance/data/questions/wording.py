"""When two texts are one question."""

from __future__ import annotations


def question_words(text: str) -> tuple[str, ...]:
    """What two wordings of one question have in common: its words in lower case, without the mark at its end.

    Example:
        >>> question_words("Is it day?") == question_words("is it  day")
        True
    """
    return tuple(text.casefold().rstrip(" ?.!").split())
