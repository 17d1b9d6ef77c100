"""Answers of several people about one image: what they agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hf_guidance.common.checks import check_choice
from hf_guidance.data.images.yes_no import WORDS

__all__ = ["AgreementRule"]

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
        check_choice("unanswered", self.unanswered, WORDS, self)

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
            check_choice("answer", answer, WORDS)
        shares = [share for answer in given if (share := _SHARES.get(answer, self.unsure)) is not None]
        if not shares:
            return self.unanswered
        mean = math.fsum(shares) / len(shares)
        return "yes" if mean > self.above else "no" if mean < self.least else "maybe"
