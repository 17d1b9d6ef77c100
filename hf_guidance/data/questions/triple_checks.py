"""What is wrong with rows of a reasoning question, its sub-question and an irrelevant question, found before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from hf_guidance.data.builder_base import id_text
from hf_guidance.data.columns import IMAGE_ID, IRRELEVANT, QUESTION_ID, REASONING, SUB_QUESTION
from hf_guidance.data.questions.plain_rows import plain_rows
from hf_guidance.data.questions.wording import question_words

TEXTS = {REASONING: "question", SUB_QUESTION: "sub_question", IRRELEVANT: "irrelevant_question"}
"""The column of each question of a row."""

MEASURED_AS_ONE = "Rows of one id are measured as one question; give each question an id of its own."


def refuse_equal(texts: Mapping[int, Any], name: str) -> None:
    """Raise a ValueError where two questions of a row, by role, have the same words."""
    words = {role: question_words(text) for role, text in texts.items() if isinstance(text, str)}
    for one, other in combinations(words, 2):
        if words[one] and words[one] == words[other]:
            raise ValueError(
                f"{name}: {TEXTS[one]} and {TEXTS[other]} are both {texts[one]!r}; a question tells nothing of itself. "
                f"Set {TEXTS[other]!r} and its answers to None: the row then has no such question."
            )


def refuse_no_text(text: Any, column: str, name: str) -> None:
    """Raise a ValueError where a sub- or an irrelevant question is no text; None is that there is none."""
    if text is not None and (not isinstance(text, str) or not text.strip()):
        raise ValueError(
            f"{name}: {column} is {text!r}; allowed is text. Set it and its answers to None where there is no such question."
        )


def check_triples(rows: Any, name: str) -> None:
    """Look at every row of data that hold their texts; streams, and rows made as they are read, are not looked at.

    Raises:
        ValueError: A row holds one question twice, or a sub- or irrelevant question that is no text.
    """
    for index, row in enumerate(plain_rows(rows, tuple(TEXTS.values()))):
        item = f"row {index} of {name}"
        texts = {role: row.get(column) for role, column in TEXTS.items()}
        for role in (SUB_QUESTION, IRRELEVANT):
            refuse_no_text(texts[role], TEXTS[role], item)
        refuse_equal(texts, item)


def shared_ids(rows: Any) -> Iterator[str]:
    """Ids of two reasoning questions with sub-questions, told in words; of rows as `check_triples` looks at."""
    known = OneQuestionPerId()
    for row in plain_rows(rows, (TEXTS[REASONING], TEXTS[SUB_QUESTION], QUESTION_ID, IMAGE_ID)):
        text, key, image = row.get(TEXTS[REASONING]), row.get(QUESTION_ID), row.get(IMAGE_ID)
        if row.get(TEXTS[SUB_QUESTION]) is not None and isinstance(text, str) and key is not None:
            told = known.conflict(id_text(key), text, None if image is None else id_text(image))
            if told:
                yield told


class OneQuestionPerId:
    """The reasoning questions by id; two of one id would be measured as one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, tuple[str, ...], str | None]] = {}

    def add(self, key: str, text: str, image: str | None) -> None:
        """Add a reasoning question of a row; as `conflict`.

        Raises:
            ValueError: Another question, or the same about another image, has the id.
        """
        if told := self.conflict(key, text, image):
            raise ValueError(f"{told}. {MEASURED_AS_ONE}")

    def conflict(self, key: str, text: str, image: str | None) -> str | None:
        """Add a reasoning question of a row.

        Args:
            key: Its id.
            text: The question; other writings of the same words are the same.
            image: Id of its image; None where rows have none, which is compared with nothing.

        Returns:
            None, or what it is that has the same id.
        """
        words = question_words(text)
        told, as_words, of_image = self._known.setdefault(key, (text, words, image))
        if words != as_words or (image is not None and of_image is not None and image != of_image):
            return (
                f"rows of {QUESTION_ID} {key!r} have two reasoning questions: {told!r} about image {of_image!r}, and {text!r} "
                f"about image {image!r}"
            )
        if of_image is None and image is not None:
            self._known[key] = (told, words, image)
        return None
