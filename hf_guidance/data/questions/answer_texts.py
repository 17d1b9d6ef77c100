"""The answers of one question as files and data sets give them, read in one way everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_guidance.data.annotated import can_be_judged
from hf_guidance.data.questions.plain_rows import plain_rows

_ALLOWED = (
    "give a list with the text of each annotator's answer, such as ['red', 'red'], or VQA's [{'answer': 'red'}, ...]"
)


def answer_texts(given: Any, name: str = "") -> list[str]:
    """The raw answers of a question as a list of texts.

    A text alone is refused, because its letters could be read as answers; so is a number, which could be a count or the
    index of a class.

    Args:
        given: Texts, one per annotator (a list, a tuple, an array, ...); VQA's list of ``{"answer": text, ...}``, or the same
            as a dict of lists; None or empty for a question without answers.
        name: Names the question in errors.

    Returns:
        The texts, unchanged, in their order.

    Raises:
        ValueError: One text instead of a list, a number, None among the answers, a dict without "answer", or anything else.

    Example:
        >>> answer_texts([{"answer": "red", "answer_confidence": "yes", "answer_id": 1}, {"answer": "dark red"}])
        ['red', 'dark red']
    """
    prefix = f"{name}: " if name else ""
    if given is None:
        return []
    if isinstance(given, Mapping):
        given = _column(given, prefix)
    if isinstance(given, str):
        raise ValueError(f"{prefix}answers is the text {str(given)!r}; {_ALLOWED}.")
    if isinstance(given, bytes) or not isinstance(given, Iterable) or getattr(given, "shape", None) == ():
        raise ValueError(f"{prefix}answers is {given!r}, a {type(given).__name__}; {_ALLOWED}.")
    return [_text(entry, number, prefix) for number, entry in enumerate(given)]


def check_answers(rows: Any, name: str, columns: Sequence[str] = ("answers",)) -> None:
    """Look at rows to train with; streams, and rows that are made as they are read, are not looked at.

    Args:
        rows: A data set, or a list of rows.
        name: What the trainer calls it.
        columns: The columns that may hold answers.

    Raises:
        ValueError: Rows have no column ``answers``, as where it has another name; or no row has an answer in any column.
    """
    without, found = None, None
    if isinstance(rows, list | tuple):
        keys = (list(row) if isinstance(row, Mapping) else ["answers"] for row in rows)
        without, found = next(((n, names) for n, names in enumerate(keys) if "answers" not in names), (None, None))
    elif can_be_judged(rows) and "answers" not in rows.column_names:
        without, found = 0, rows.column_names
    if found is not None:
        raise ValueError(
            f"row {without} of {name} has no column 'answers', from which labels are made; it has {found}. Rename the "
            "column, or add it, with None where a question has no answers."
        )
    looked = 0
    for row in plain_rows(rows, columns):
        if any(_is_given(row.get(column)) for column in columns):
            return
        looked += 1
    if looked:
        raise ValueError(
            f"none of the {looked} rows of {name} has an answer in {list(columns)}, so there is nothing to learn; fill "
            "'answers' with a list of texts. Questions without answers can be predicted: trainer.predict(rows)."
        )


def _is_given(answers: Any) -> bool:
    return answers is not None and not (isinstance(answers, list | tuple) and not answers)


def _column(given: Mapping[Any, Any], prefix: str) -> Any:
    answers = given.get("answer")
    if answers is None or isinstance(answers, str | Mapping):
        raise ValueError(f"{prefix}answers is the dict {_short(dict(given))}; {_ALLOWED}.")
    return answers


def _text(entry: Any, number: int, prefix: str) -> str:
    answer = entry
    if isinstance(entry, Mapping):
        if "answer" not in entry:
            raise ValueError(f"{prefix}answers[{number}] has no 'answer' but {sorted(map(str, entry))}; {_ALLOWED}.")
        answer = entry["answer"]
    if isinstance(answer, str):
        return str(answer)
    why = "could be a count or the index of a class" if isinstance(answer, int | float) else "is not text"
    raise ValueError(f"{prefix}answers[{number}] is {_short(answer)}, which {why}; {_ALLOWED}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
