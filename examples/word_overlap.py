"""A baseline that sees no image: questions ranked by the words that they share with a reasoning question.

Each measure is larger for a question worded more like the reasoning question, or whose answer is one of its words. Where
sub-questions come first by one of them, a model need not look at the image to rank them; by chance, MP@1 is the share of
sub-questions. The answer counts, for a Grad-CAM vector is that of the answer's logit.
"""

from collections.abc import Callable, Iterable, Mapping
from math import comb
from typing import Any

import numpy as np

from hf_guidance.evaluation.metric_modules import load_metric

_TIE = 1e-9  # smaller than any difference of two measures of texts of less than 10,000 words

Words = frozenset[str]


def words_of(question: str) -> Words:
    """The words of a question, without case and the mark at its end."""
    return frozenset(question.casefold().rstrip(" ?.!").split())


MEASURES: dict[str, Callable[[Words, Words], float]] = {
    "shared words": lambda own, asked: len(own & asked),
    "few new words": lambda own, asked: -len(own - asked),
    "share of own words": lambda own, asked: len(own & asked) / max(len(own), 1),
    "share of the reasoning question's words": lambda own, asked: len(own & asked) / max(len(asked), 1),
    "jaccard": lambda own, asked: len(own & asked) / max(len(own | asked), 1),
    "length": lambda own, asked: len(own),
}
"""Name -> measure of the words of a question and those of the reasoning question."""
ANSWER_NAMED = "answer named"
"""The measure of answers: whether that of a question is a word of the reasoning question."""


def overlaps(question: str, reasoning_question: str) -> dict[str, float]:
    """All MEASURES of a question."""
    own, asked = words_of(question), words_of(reasoning_question)
    return {name: float(measure(own, asked)) for name, measure in MEASURES.items()}


def _score(one: Mapping[str, Any], reasoning_question: str, measure: str) -> float:
    if measure != ANSWER_NAMED:
        return overlaps(one["question"], reasoning_question)[measure]
    return float(words_of(one["answer"]) <= words_of(reasoning_question))


def ranked_by_overlap(rows: Iterable[Mapping[str, Any]], measure: str, seed: int = 0) -> dict[str, float]:
    """The metric question_ranking of the order by a measure; ties, which are many, are broken at random.

    Args:
        rows: Rows with `question`, `sub_questions` and `irrelevant_questions`; those that lack one are left out.
        measure: One of MEASURES, or ANSWER_NAMED.
        seed: Of the random order of ties.

    Returns:
        `mp_at_1`, `ranking_accuracy`, `mrr` and `wpr`, and `chance_mp_at_1` and `chance_ranking_accuracy`: those expected of a
        random order.

    Raises:
        ValueError: The measure is unknown, or no row has questions of both kinds.
    """
    if measure not in (*MEASURES, ANSWER_NAMED):
        raise ValueError(f"measure {measure!r} is unknown; choose one of {[*MEASURES, ANSWER_NAMED]}.")
    rng, metric = np.random.default_rng(seed), load_metric("question_ranking")
    first, all_first = [], []
    for number, row in enumerate(rows):
        asked = [*(row["sub_questions"] or ()), *(row["irrelevant_questions"] or ())]
        subs, count = len(row["sub_questions"] or ()), len(asked)
        if not 0 < subs < count:
            continue
        scores = np.array([_score(one, row["question"], measure) for one in asked])
        scores += _TIE * rng.permutation(count) / count
        metric.add_batch(predictions=scores, references=[1] * subs + [0] * (count - subs), group=[number] * count)
        first.append(subs / count)
        all_first.append(1 / comb(count, subs))
    if not first:
        raise ValueError("No row has sub_questions and irrelevant_questions, so that there is nothing to rank.")
    chance = {"chance_mp_at_1": float(np.mean(first)), "chance_ranking_accuracy": float(np.mean(all_first))}
    return {name: float(value) for name, value in metric.compute().items()} | chance
