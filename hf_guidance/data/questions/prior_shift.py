"""Changing-prior splits: in- and out-of-distribution parts with different answer priors, as in VisFIS and VQA-CP."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_guidance.common.progress import progress_bar
from hf_guidance.data.questions.answer_texts import answer_texts
from hf_guidance.data.questions.answers import normalize_answer

_WORD = re.compile(r"[a-z0-9']+")
_WITHOUT_CONTENT = """
    a about all am an and any are aren't as at be been being both but by can could did do does doesn't doing don't down
    each few for from had has have having he her here him his how i if in into is isn't it it's its just me more most my no
    nor not now of off on only or other our out over own same she should so some such than that that's the their them then
    there these they this those through to too under up us very was wasn't we were what what's when where which while who
    whom why will with would yes you your
"""
_FUNCTION_WORDS = frozenset(_WITHOUT_CONTENT.split())

Groups = dict[tuple[str, str], list[int]]


@dataclass(frozen=True)
class PriorShift:
    """Indices of the rows of each part, sorted."""

    train: list[int]
    dev: list[int]
    test_id: list[int]
    test_ood: list[int]

    def parts(self) -> dict[str, list[int]]:
        """Name of each part -> its indices."""
        return {"train": self.train, "dev": self.dev, "test_id": self.test_id, "test_ood": self.test_ood}

    def of(self, dataset: Any) -> dict[str, Any]:
        """The parts of a `datasets.Dataset`, by name."""
        return {name: dataset.select(indices) for name, indices in self.parts().items()}


def prior_groups(questions: Sequence[str], answers: Sequence[str], words: int = 3) -> Groups:
    """Group the rows that share their answer and the first words of their question, in order of appearance.

    Args:
        questions: The question of each row; words are separated by white space.
        answers: The answer of each row.
        words: Number of first words.

    Returns:
        (first words, answer) -> indices.

    Example:
        >>> prior_groups(["Is it red?", "Is it blue?"], ["no", "no"], words=2)
        {('Is it', 'no'): [0, 1]}
    """
    groups: Groups = {}
    for index, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        groups.setdefault((" ".join(question.split()[:words]), answer), []).append(index)
    return groups


def id_sizes(count: int) -> tuple[int, int, int]:
    """Sizes of train, dev and test_id for ``count`` in-distribution rows: 6 : 1 : 1.5, rounded as in the released code."""
    unit = int(count / 8.5)
    return 6 * unit, unit, count - 7 * unit


def changing_prior_split(
    questions: Sequence[str],
    answers: Sequence[Any],
    *,
    words: int = 3,
    soft: bool = True,
    ood_share: float = 0.15,
    uncovered_words: int = 20,
    seed: int = 0,
) -> PriorShift:
    """Split rows so that the answer is distributed differently, given the question's first words, in `test_ood`.

    Groups of equal first words and answer (see `prior_groups`) are visited in random order and moved to the
    out-of-distribution part (OOD), until it holds more than ``ood_share`` of all rows; the other rows are in-distribution
    (ID). Whenever OOD holds more than ``uncovered_words`` content words that no row chosen for ID has, the unvisited group
    that covers most of them is chosen for ID. The ID part is shuffled and cut into train, dev and test_id (see `id_sizes`).
    This is VisFIS' split (arXiv 2206.11212, appendix B).

    Args:
        questions: The question of each row.
        answers: The answer of each row as text, or the answers of all its annotators (see `answer_texts`), of which the
            commonest, normalised, is taken.
        words: Number of first words that make a group; the paper says "the first few", the released code takes 3.
        soft: Cut each visited group 20 : 80 and draw with equal probability which part is OOD, as the paper describes; a
            group chosen for ID is cut too. False moves whole groups, as the released code is configured: no group is then in
            both parts.
        ood_share: Share of OOD among all rows, in (0, 1); a large group may overshoot it.
        uncovered_words: See above.
        seed: Seed of all random draws.

    Returns:
        Indices of each part.

    Raises:
        ValueError: No rows, columns of different length, a question or answer that is not text, a share outside (0, 1), or
            too few groups to fill each part.

    Example:
        >>> split = changing_prior_split(dataset["question"], dataset["answers"], seed=7)
        >>> parts = split.of(dataset)
    """
    if not 0 < ood_share < 1 or words < 1:
        raise ValueError(f"ood_share={ood_share}, words={words}; allowed: a share between 0 and 1, at least one word.")
    single = _single_answers(questions, answers)
    groups = prior_groups(questions, single, words)
    texts = [_content_words(f"{question} {answer}") for question, answer in zip(questions, single, strict=True)]
    draws = np.random.default_rng(seed)
    ood = _Visit(list(groups.values()), texts, soft, uncovered_words, draws).run(ood_share * len(questions))
    outside = set(ood)
    inside = [index for index in range(len(questions)) if index not in outside]
    draws.shuffle(inside)
    train, dev, _ = id_sizes(len(inside))
    parts = [sorted(part) for part in (inside[:train], inside[train : train + dev], inside[train + dev :], ood)]
    if not all(parts):
        raise ValueError(
            f"{len(questions)} rows in {len(groups)} groups of first {words} words and answer leave a part empty "
            f"(train, dev, test_id, test_ood: {[len(part) for part in parts]}); give more rows, or choose other words."
        )
    return PriorShift(*parts)


def _single_answers(questions: Sequence[Any], answers: Sequence[Any]) -> list[str]:
    """The one answer of each row, if the columns can be those of a data set."""
    if isinstance(questions, str):
        raise ValueError(f"questions is one text, {questions[:40]!r}; give one question per row.")
    if len(questions) != len(answers):
        raise ValueError(f"{len(questions)} questions and {len(answers)} answers; give one of each per row.")
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            raise ValueError(f"the question of row {number} is {question!r}, not text; correct or drop the row.")
    return [
        answer if isinstance(answer, str) else _commonest(answer, f"row {number}")
        for number, answer in enumerate(answers)
    ]


def _commonest(answers: Any, name: str) -> str:
    counts = Counter(map(normalize_answer, answer_texts(answers, name)))
    return counts.most_common(1)[0][0] if counts else ""


def _content_words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _FUNCTION_WORDS


class _Visit:
    """One pass over the groups; the content words of OOD that no ID row has decide which groups are chosen for ID."""

    def __init__(
        self, groups: list[list[int]], texts: list[frozenset[str]], soft: bool, limit: int, draws: np.random.Generator
    ) -> None:
        self.groups, self.texts, self.soft, self.limit, self.draws = groups, texts, soft, limit, draws
        self.waiting = dict.fromkeys(draws.permutation(len(groups)).tolist())
        self.ood: list[int] = []
        self.covered: set[str] = set()
        self.uncovered: set[str] = set()
        self.holders: dict[str, set[int]] = {}
        for number, group in enumerate(groups):
            for word in self._words(group):
                self.holders.setdefault(word, set()).add(number)

    def run(self, wanted: float) -> list[int]:
        """Visit groups until OOD has more than ``wanted`` rows or no group is left; return the indices of OOD."""
        with progress_bar(len(self.groups), "splitting by prior", unit="group") as bar:
            while self.waiting and len(self.ood) <= wanted:
                number = next(iter(self.waiting))
                outside, inside = self._parts(number, chosen=False)
                self._place(number, outside, inside)
                while self.waiting and len(self.uncovered) > self.limit:
                    best = self._covers_most()
                    if best is None:
                        break
                    outside, inside = self._parts(best, chosen=True)
                    self._place(best, outside, inside)
                bar.update(len(self.groups) - len(self.waiting) - bar.n)
        return self.ood

    def _parts(self, number: int, chosen: bool) -> tuple[list[int], list[int]]:
        group = list(self.groups[number])
        if not self.soft:
            return ([], group) if chosen else (group, [])
        self.draws.shuffle(group)
        cut = int(0.2 * len(group))
        small, large = group[:cut], group[cut:]
        return (small, large) if self.draws.random() < 0.5 else (large, small)

    def _place(self, number: int, outside: list[int], inside: list[int]) -> None:
        del self.waiting[number]
        self.ood.extend(outside)
        self.covered |= self._words(inside)
        self.uncovered = (self.uncovered | self._words(outside)) - self.covered

    def _covers_most(self) -> int | None:
        overlap: Counter[int] = Counter()
        for word in sorted(self.uncovered):
            overlap.update(number for number in sorted(self.holders[word]) if number in self.waiting)
        return overlap.most_common(1)[0][0] if overlap else None

    def _words(self, rows: list[int]) -> set[str]:
        return set().union(*(self.texts[row] for row in rows))
