"""Answers of questions: the official VQA normalisation, soft scores, and the vocabulary of a classifier."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.common.checks import check_choice
from hf_guidance.common.progress import progress
from hf_guidance.common.text_files import read_json
from hf_guidance.data.questions.answer_texts import answer_texts

SCORINGS = ("auto", "soft", "one")
_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"\d,\d")
# The official pattern is meant to keep points between digits, but by mistake looks only at the digit after the point.
_POINT = re.compile(r"\.(?!\d)")
_POINTS = int(re.UNICODE)  # the official call passes this flag as `count`: the number of points to remove at most
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd
where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all
y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


# What people type instead of a contraction: the same word with one apostrophe forgotten.
_CONTRACTIONS = {typed: word for word in _CONTRACTED.split() for typed in _without_one_apostrophe(word)}
# The official table has this entry the wrong way round and lists one form only; it is kept so that scores compare.
_CONTRACTIONS |= {"somebody'd": "somebodyd"}


@lru_cache(maxsize=1 << 16)
def normalize_answer(answer: str) -> str:
    """Normalise an answer as the official VQA evaluation and its soft-score preparation do.

    In this order: punctuation becomes a space, or vanishes where it stands beside a space or the answer holds a number
    with a thousands comma; points not before a digit vanish; lower case; number words to ten become digits ("none" is
    0); articles vanish; forgotten apostrophes come back; commas vanish.

    Args:
        answer: An annotator's raw answer.

    Returns:
        The normalised answer; empty where nothing is left, for example from "the".

    Example:
        >>> [normalize_answer(answer) for answer in ("The dog", "two", "1,000", "dont know", "u.s.a")]
        ['dog', '2', '1000', "don't know", 'usa']
    """
    given = text = answer.replace("\n", " ").replace("\t", " ").strip()
    thousands = bool(_THOUSANDS.search(given))
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in given or f" {mark}" in given
        text = text.replace(mark, "" if beside_space or thousands else " ")
    words = (_WORDS.get(word, word) for word in _POINT.sub("", text, count=_POINTS).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES).replace(",", "")


def soft_score(count: int) -> float:
    """VQA's score of an answer that ``count`` of ten annotators gave: 0, 0.3, 0.6, 0.9, then 1.

    Args:
        count: Number of annotators, >= 0.

    Raises:
        ValueError: ``count`` is negative.

    Example:
        >>> [soft_score(count) for count in (0, 1, 3, 7)]
        [0.0, 0.3, 0.9, 1.0]
    """
    if count < 0:
        raise ValueError(f"count={count} is negative; give the number of annotators who gave the answer.")
    return _SCORES[min(count, 4)]


@dataclass(frozen=True)
class Coverage:
    """How well a vocabulary covers questions.

    Attributes:
        questions: Number of questions.
        without_label: Number of questions without any label.
        unmatched: Each answer that the vocabulary lacks -> number of annotators who gave it, most frequent first.
    """

    questions: int
    without_label: int
    unmatched: dict[str, int]

    def __str__(self) -> str:
        most = ", ".join(f"{answer!r} ({count})" for answer, count in list(self.unmatched.items())[:5])
        return (
            f"{self.without_label} of {self.questions} questions have no label; {sum(self.unmatched.values())} answers "
            f"are outside the vocabulary{': ' + most if most else ''}."
        )


@dataclass(frozen=True)
class AnswerVocabulary:
    """The answers that a classifier can give, and the soft scores of a question's answers.

    The answers of a question are read by `answer_texts`: a list of texts, or VQA's list of dicts.

    Args:
        answers: The answer of each class, in the order of their labels.
        scoring: "soft" is VQA's score by the number of annotators; "one" gives every listed answer 1.0 (data sets with
            one answer); "auto" is "one" for a question with a single answer, else "soft".
        raw: Look raw answers up in the vocabulary, as released code does, so that "The dog" misses "dog". The default
            normalises them first.

    Raises:
        ValueError: No answer, an answer twice or empty, answers that are not a list of texts, an unknown scoring.

    Example:
        >>> vocabulary = AnswerVocabulary(("yes", "no", "2"))
        >>> vocabulary.encode(["two", "2", "yes"]).round(1).tolist()
        [0.3, 0.0, 0.6]
    """

    answers: tuple[str, ...]
    scoring: str = "auto"
    raw: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.answers, Mapping):
            raise ValueError(
                f"answers is a dict of {len(self.answers)}; give the answers in the order of their labels, for example "
                "tuple(sorted(label2id, key=label2id.get))."
            )
        object.__setattr__(self, "answers", tuple(answer_texts(self.answers, "the classes")))
        wrong = [answer for answer, count in Counter(self.answers).items() if count > 1 or not answer]
        if not self.answers or wrong:
            raise ValueError(
                f"answers: got {len(self.answers)}, twice or empty: {wrong}; allowed: one or more, each once."
            )
        check_choice("scoring", self.scoring, SCORINGS)

    @classmethod
    def from_answers(cls, answers: Iterable[Any], min_occurrence: int = 9, scoring: str = "auto") -> AnswerVocabulary:
        """Make a vocabulary of frequent answers, in order of appearance.

        An answer is kept if it is the commonest one of at least ``min_occurrence`` questions.

        Args:
            answers: The raw answers of each question, for example ``dataset["answers"]``; see `answer_texts`.
            min_occurrence: Number of questions; 9 in VQA v2's usual preparation, 1 keeps every commonest answer.
            scoring: See the class.

        Raises:
            ValueError: No answer is the commonest one of so many questions; or the answers of a question are not texts.
        """
        commonest: Counter[str] = Counter()
        for given in _each_question(answers):
            counts = Counter(map(normalize_answer, given))
            counts.pop("", None)
            commonest.update(answer for answer, _ in counts.most_common(1))
        kept = tuple(answer for answer, count in commonest.items() if count >= min_occurrence)
        if not kept:
            most = commonest.most_common(1)
            raise ValueError(
                f"no answer is the commonest of {min_occurrence} questions (most: {most}); lower min_occurrence."
            )
        return cls(kept, scoring)

    def __len__(self) -> int:
        return len(self.answers)

    @cached_property
    def label2id(self) -> dict[str, int]:
        """Answer -> label, for a model's config."""
        return {answer: label for label, answer in enumerate(self.answers)}

    @cached_property
    def id2label(self) -> dict[int, str]:
        """Label -> answer, for a model's config."""
        return dict(enumerate(self.answers))

    def encode(self, answers: Any) -> npt.NDArray[np.float32]:
        """Soft scores of a question's answers.

        Args:
            answers: Raw answers, one per annotator; see `answer_texts`.

        Returns:
            (classes,) float32 in [0, 1]; all zero where no answer is in the vocabulary (see `unmatched`).

        Raises:
            ValueError: The answers are not texts.
        """
        return self.scored(answer_texts(answers))[0]

    def unmatched(self, answers: Any) -> list[str]:
        """The raw answers that are not in the vocabulary."""
        return self.scored(answer_texts(answers))[1]

    def scored(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], list[str]]:
        """`encode` and `unmatched` in one, for answers that `answer_texts` has read."""
        looked_up = list(map(self._looked_up, texts))
        scores = np.zeros(len(self.answers), np.float32)
        soft = self.scoring == "soft" or (self.scoring == "auto" and len(texts) > 1)
        for answer, count in Counter(looked_up).items():
            label = self.label2id.get(answer)
            if label is not None:
                scores[label] = soft_score(count) if soft else 1.0
        return scores, [text for text, answer in zip(texts, looked_up, strict=True) if answer not in self.label2id]

    def coverage(self, answers: Iterable[Any]) -> Coverage:
        """Count the questions and answers that the vocabulary does not cover.

        Args:
            answers: The raw answers of each question; see `answer_texts`.

        Raises:
            ValueError: The answers of a question are not texts.
        """
        questions = without = 0
        lacking: Counter[str] = Counter()
        for given in _each_question(answers):
            missing = self.unmatched(given)
            questions, without = questions + 1, without + (len(missing) == len(given))
            lacking.update(self._looked_up(answer) for answer in missing)
        return Coverage(questions, without, dict(lacking.most_common()))

    def _looked_up(self, answer: str) -> str:
        return answer if self.raw else normalize_answer(answer)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as JSON."""
        content = {"answers": self.answers, "scoring": self.scoring, "raw": self.raw}
        Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnswerVocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: The file is not such a JSON file.
        """
        try:
            content = read_json(path)
            if not isinstance(content["raw"], bool):
                raise TypeError(f"raw is {content['raw']!r}")
            return cls(content["answers"], content["scoring"], content["raw"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not an answer vocabulary ({error!r}); write it with AnswerVocabulary.save."
            ) from None


def _each_question(answers: Iterable[Any]) -> Iterator[list[str]]:
    if isinstance(answers, str | Mapping):
        raise ValueError(
            f"answers is a {type(answers).__name__}; give the answers of each question, one list per question."
        )
    for number, given in enumerate(progress(answers, "reading answers", unit="question")):
        yield answer_texts(given, f"question {number}")
