"""QuestionTriples: reasoning questions with one of their sub-questions and one irrelevant question at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import Dataset

from hf_guidance.common.checks import check_choice
from hf_guidance.data.builder_base import id_text
from hf_guidance.data.questions.answer_texts import answer_texts
from hf_guidance.data.questions.wording import question_words

PAIRS = ("all", "sampled")
SUB_QUESTIONS, IRRELEVANT_QUESTIONS = "sub_questions", "irrelevant_questions"
"""Columns with the questions of a reasoning question, each ``{"question": text, "answers": texts}``, or ``"answer": text``."""
_LISTS = (SUB_QUESTIONS, IRRELEVANT_QUESTIONS)
_READ = ("question_id", "question", *_LISTS)
_TEXTS = (*_READ, "answers", "image_id")


class QuestionTriples(Dataset[dict[str, Any]]):
    """Rows of triples, as `QuestionTripleCollator` reads them, made of reasoning questions with lists of others.

    A row of ``rows`` has ``sub_questions`` and ``irrelevant_questions``, as in the builders vqa_introspect and shapes_vqa. Its
    triples have its other columns, and ``sub_question``, ``sub_answers``, ``irrelevant_question`` and
    ``irrelevant_answers``: None where there is no such question. A row without sub-questions is one triple without partners.

    "sampled" draws from the seed, the epoch and the question_id alone, so a row does not depend on the order of reading, on the
    number of processes or on what was read before. `GuidedTrainer` tells the epoch at its begin, also after a resume and to
    loaders in other processes; elsewhere call ``set_epoch``. Do not evaluate on the object that a training reads:
    the loader of an evaluation sets its epoch to 0.

    Args:
        rows: A map-style dataset, or a list of rows.
        pairs: "all": every pair of a sub-question and an irrelevant question is a row; of those without irrelevant questions
            every sub-question is. "sampled": one row per reasoning question, whose pair is drawn anew in every epoch.
        seed: Seed of the draws, at least 0.

    Raises:
        ValueError: A column is missing; a row has an id that is none, a sub-question that is the reasoning question, one
            question both as sub- and as irrelevant question, or a question without text or answers; two rows have one id; or no
            row has a sub-question. The message has the question_id.

    Example:
        >>> one = {"question_id": "7", "question": "is it day?", "answers": ["yes"], "irrelevant_questions": []}
        >>> sky = {"question": "is the sky bright?", "answers": ["yes"]}
        >>> QuestionTriples([one | {"sub_questions": [sky]}])[0]["sub_question"]
        'is the sky bright?'
    """

    def __init__(self, rows: Any, pairs: str = "all", seed: int = 0) -> None:
        check_choice("pairs", pairs, PAIRS, self)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"QuestionTriples(seed={seed!r}): give a whole number of at least 0.")
        self._rows, self._pairs, self._seed = rows, pairs, seed
        counts = np.array(_checked_counts(rows), np.int64).reshape(-1, 2)
        if not counts[:, 0].any():
            raise ValueError(
                f"none of {len(counts)} rows has a sub-question; give reasoning questions, as vqa_introspect has."
            )
        each = np.maximum(counts[:, 0], 1) * np.where(counts[:, 0] > 0, np.maximum(counts[:, 1], 1), 1)
        self._ends = np.cumsum(each)  # of the pairs of each row, with "all"
        # Shared, so that workers of a loader that live on see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw the pairs of an epoch: called at its begin, the same number gives the same pairs."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._rows) if self._pairs == "sampled" else int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows at once, which datasets read faster."""
        wanted = [range(len(self))[index] for index in indices]  # counts from the end too, and refuses what is beyond
        places = wanted if self._pairs == "sampled" else np.searchsorted(self._ends, wanted, side="right").tolist()
        many = getattr(self._rows, "__getitems__", None)
        rows = many(places) if many is not None else [self._rows[place] for place in places]
        found = zip(rows, places, wanted, strict=True)
        return [_triple(row, *self._choice(row, place, index)) for row, place, index in found]

    def _choice(self, row: Mapping[str, Any], place: int, index: int) -> tuple[int, int]:
        """The numbers of the sub- and of the irrelevant question."""
        subs, others = (max(1, len(row[name] or ())) for name in _LISTS)
        if self._pairs == "all":
            number = index - (int(self._ends[place - 1]) if place else 0)
            return divmod(number, others)
        named = zlib.crc32(id_text(row["question_id"]).encode())
        rng = np.random.default_rng([self._seed, int(self._epoch), named])
        return int(rng.integers(subs)), int(rng.integers(others))


def every_question(*parts: Any) -> Iterator[tuple[str, list[str]]]:
    """All questions of rows: the rows' own, their sub-questions and their irrelevant questions.

    What the words of a tokenizer and an AnswerVocabulary are made from. A question about an image, told by its ``image_id``, is
    one however often it stands in the rows, so that it counts once for ``min_occurrence``.

    Args:
        *parts: Map-style datasets, or lists of rows, with or without the lists of `QuestionTriples`.

    Yields:
        Text and raw answers of a question.

    Raises:
        ValueError: As `QuestionTriples` for rows that are none, and for answers of an unknown form.

    Example:
        >>> one = {"question": "is it day?", "answers": ["yes"], "sub_questions": [{"question": "is it dark?", "answer": "no"}]}
        >>> list(every_question([one]))
        [('is it day?', ['yes']), ('is it dark?', ['no'])]
    """
    seen: set[tuple[str, str]] = set()
    for row in (row for part in parts for row in _texts_of(part)):
        others = [(asked["question"], _answers(asked)) for name in _LISTS for asked in row.get(name) or ()]
        for text, answers in ((row["question"], answer_texts(row["answers"])), *others):
            key = None if row.get("image_id") is None else (id_text(row["image_id"]), text)
            if key not in seen:
                yield text, answers
            if key is not None:
                seen.add(key)


def _triple(row: Mapping[str, Any], sub: int, other: int) -> dict[str, Any]:
    """The row with one question of each list; without sub-question no irrelevant one either: there is nothing to contrast."""
    chosen: dict[str, Any] = {name: value for name, value in row.items() if name not in _LISTS}
    for name, number, column in ((_LISTS[0], sub, "sub"), (_LISTS[1], other, "irrelevant")):
        asked = row[name][number] if row[SUB_QUESTIONS] and row[name] else None
        chosen[f"{column}_question"] = None if asked is None else asked["question"]
        chosen[f"{column}_answers"] = None if asked is None else _answers(asked)
    return chosen


def _answers(asked: Mapping[str, Any]) -> list[str]:
    given = asked.get("answers")
    return answer_texts([asked["answer"]] if given is None and asked.get("answer") is not None else given)


def _checked_counts(rows: Any) -> list[tuple[int, int]]:
    """How many sub- and irrelevant questions each row has, all of them checked."""
    counts: list[tuple[int, int]] = []
    first: dict[str, int] = {}
    for index, row in enumerate(_texts_of(rows)):
        missing = [name for name in _READ if name not in row]
        if missing:
            raise ValueError(
                f"row {index} has no {', '.join(missing)}; triples are made of reasoning questions, as those of "
                "dataset_builder('vqa_introspect'). Put other questions beside them by MixedQuestions."
            )
        try:
            number = id_text(row["question_id"])
        except ValueError as error:
            raise ValueError(f"row {index}, question_id: {error}") from None
        if number in first:
            raise ValueError(f"rows {first[number]} and {index} both have question_id {number!r}; give each its own.")
        first[number] = index
        _check_questions(row, f"row {index} (question_id {number!r})")
        counts.append((len(row[SUB_QUESTIONS] or ()), len(row[IRRELEVANT_QUESTIONS] or ())))
    return counts


def _check_questions(row: Mapping[str, Any], name: str) -> None:
    """Raise for questions that cannot be asked beside the reasoning question."""
    taken = {_words(row["question"], f"{name}: question"): "the reasoning question"}
    for column in _LISTS:
        own = {}
        for number, asked in enumerate(row[column] or ()):
            item = f"{name}: {column}[{number}]"
            if not isinstance(asked, Mapping):
                raise ValueError(f"{item} is {asked!r:.60}; allowed is {{'question': text, 'answers': [text, ...]}}.")
            words = _words(asked.get("question"), f"{item}, question")
            if words in taken:
                text = f"{item} is {asked['question']!r}, which is {taken[words]}"
                raise ValueError(f"{text}; a question tells nothing of itself. Leave it out.")
            own[words] = f"in {column} too"
            try:
                answers = _answers(asked)
            except ValueError as error:
                raise ValueError(f"{item}: {error}") from None
            if not any(answer.strip() for answer in answers):
                raise ValueError(f"{item}, {asked['question']!r}, has no answers; add them, or leave the question out.")
        taken |= own


def _words(text: Any, item: str) -> tuple[str, ...]:
    """What two wordings of one question have in common."""
    words = question_words(text) if isinstance(text, str) else ()
    if not words:
        raise ValueError(f"{item} is {text!r}; allowed is text. Leave it out.")
    return words


def _texts_of(rows: Any) -> Iterator[Mapping[str, Any]]:
    # Only the columns that are checked: no image is decoded.
    if not isinstance(rows, datasets.Dataset):
        if not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")) or isinstance(rows, Mapping):
            raise ValueError(
                f"{type(rows).__name__} has no rows by number; give one datasets.Dataset, as splits['train']."
            )
        yield from (rows[index] for index in range(len(rows)))
        return
    plain = rows.with_format(None).select_columns([name for name in _TEXTS if name in rows.column_names])
    for batch in plain.iter(batch_size=256):
        names = list(batch)
        yield from (dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True))
