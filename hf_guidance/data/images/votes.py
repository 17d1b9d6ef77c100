"""Answers of several people about one image: what they agree on, and the paper's file of the result."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hf_guidance.common.checks import check_choice
from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file

__all__ = ["ANSWERS", "AgreementRule", "read_paper_json", "write_paper_json"]

ANSWERS = ("yes", "no", "maybe")
"""The words of an answer; "maybe" is that of somebody who is unsure, and of people who do not agree."""
_SHARES = {"yes": 1.0, "no": 0.0}


@dataclass(frozen=True)
class AgreementRule:
    """One answer of several, by their mean:

        m = mean of the answers, with yes = 1, no = 0, maybe = ``unsure``
        yes where m > above,   maybe where least <= m <= above,   no where m < least

    With two people: both yes is yes, both no is no, one of each is maybe. With three the rule is not symmetric: two of three
    yes (0.67) is maybe, one of three (0.33) is no.

    Source: "Effective Guidance for Model Attention with Simple Yes-no Annotations" (CRAYON), section on annotations; the
    paper's thresholds are the defaults. It has no answer "unsure"; 0.5 is its own number for "maybe".

    Args:
        above: The mean above which the answer is yes, in [0, 1].
        least: The mean below which it is no, at most ``above``.
        unsure: What a "maybe" counts, in [0, 1]; None leaves it out of the mean.
        unanswered: The answer where nobody said anything (or, with ``unsure=None``, nobody was sure): "yes", "no" or "maybe".

    Raises:
        ValueError: A number outside [0, 1], ``least`` above ``above``, or an unknown word.

    Example:
        >>> AgreementRule()(["yes", "no"])
        'maybe'
    """

    above: float = 0.7
    least: float = 0.5
    unsure: float | None = 0.5
    unanswered: str = "maybe"

    def __post_init__(self) -> None:
        for name in ("above", "least", "unsure"):
            value = getattr(self, name)
            if not (name == "unsure" and value is None) and not 0 <= value <= 1:  # NaN, too
                raise ValueError(f"AgreementRule({name}={value!r}): give a number in [0, 1].")
        if self.least > self.above:
            raise ValueError(
                f"AgreementRule(least={self.least}, above={self.above}): give a least that is not above `above`."
            )
        check_choice("unanswered", self.unanswered, ANSWERS, self)

    def __call__(self, answers: Sequence[str | None]) -> str:
        """The answer that several stand for.

        Args:
            answers: "yes", "no", "maybe", or None of somebody who did not answer, in any order.

        Returns:
            "yes", "no" or "maybe".

        Raises:
            ValueError: Another word.
        """
        given = [answer for answer in answers if answer is not None]
        for answer in given:
            check_choice("answer", answer, ANSWERS)
        shares = [share for answer in given if (share := _SHARES.get(answer, self.unsure)) is not None]
        if not shares:
            return self.unanswered
        mean = math.fsum(shares) / len(shares)
        return "yes" if mean > self.above else "no" if mean < self.least else "maybe"


def write_paper_json(path: str | os.PathLike[str], answers: Sequence[str | None]) -> None:
    """Write answers as the paper's released files have them: a JSON list of words in the order of the training set.

    Args:
        path: The file; it is whole or absent.
        answers: One word an image; None, written as null, of an image without an answer.

    Raises:
        ValueError: Another word.
    """
    for place, answer in enumerate(answers):
        _check(answer, place, "answers")
    with whole_file(os.fspath(path)) as draft:
        draft.write_text(json.dumps(list(answers)) + "\n", encoding="utf-8")


def read_paper_json(path: str | os.PathLike[str], count: int | None = None) -> list[str | None]:
    """Read the paper's list of answers.

    Args:
        path: A JSON list of "yes", "no", "maybe" and null.
        count: How many images there are, if that is known.

    Returns:
        One word an image, None where there is no answer.

    Raises:
        ValueError: It is cut short or no JSON, no list, has another word, or not ``count`` answers.
    """
    found = read_json(path)
    if not isinstance(found, list):
        raise ValueError(f'{path} holds {type(found).__name__}; give a JSON list such as ["yes", "no", "maybe", null].')
    for place, answer in enumerate(found):
        _check(answer, place, str(path))
    if count is not None and len(found) != count:
        raise ValueError(
            f"{path} has {len(found)} answers for {count} images; give the list of the same images, one answer each."
        )
    return found


def _check(answer: Any, place: int, where: str) -> None:
    if answer is not None and answer not in ANSWERS:
        raise ValueError(
            f"{where}: answer {place} is {answer!r}; allowed are {', '.join(map(repr, ANSWERS))} and null."
        )
