"""The sub-questions that people gave to one reasoning question of VQA-Introspect, each once, with its answer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hf_guidance.data.builder_base import InvalidAnnotation

Candidate = dict[str, Any]
"""``{"question": text, "answers": [text, ...]}``."""
MENDED = {"yea": "yes"}
"""An answer of the published files, without case, blanks and a mark at its end -> what it stands for."""


def same_words(text: str) -> tuple[str, ...]:
    """What two wordings of one question have in common: case, blanks and the mark at the end do not count."""
    return tuple(text.casefold().rstrip(" ?.!").split())


def candidate(question: str, answers: list[str]) -> Candidate:
    """A question that is asked beside a reasoning question."""
    return {"question": question.strip(), "answers": answers}


class SubQuestions:
    """Reads the responses of the people who were asked about a reasoning question.

    Args:
        count: Called with a reason and an item for everything that is left out or mended.
        problem: Called with the error of every sub-question that cannot be used.
    """

    def __init__(self, count: Callable[[str, str], None], problem: Callable[[InvalidAnnotation], None]) -> None:
        self._count, self._problem = count, problem

    def read(self, item: str, entry: Mapping[str, Any]) -> list[Candidate]:
        """The sub-questions of an entry ``{reasoning_question, introspect: [{sub_qa: [...], pred_q_type}, ...]}``.

        Args:
            item: Names the entry.
            entry: The entry.

        Raises:
            InvalidAnnotation: The reasoning question is no text.
        """
        asked = entry["reasoning_question"]
        if not isinstance(asked, str):
            raise InvalidAnnotation("question is not text", item, f"its reasoning_question is {asked!r:.60}.")
        found: dict[tuple[str, ...], Candidate] = {}
        for name, pair in self._pairs(item, entry["introspect"]):
            try:
                one = self._candidate(name, pair)
            except InvalidAnnotation as error:
                self._problem(error)
                continue
            if one is None:
                continue
            words = same_words(one["question"])
            if words == same_words(asked):
                self._count("sub-question is the reasoning question", name)
            elif words in found:
                alike = found[words]["answers"] == one["answers"]
                self._count("sub-question twice" if alike else "sub-question twice, with another answer", name)
            else:
                found[words] = one
        return list(found.values())

    def _pairs(self, item: str, responses: list[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What names each pair of question and answer, and the pair."""
        for number, response in enumerate(responses):
            name = f"{item}, response {number}"
            if response.get("pred_q_type") == "invalid":
                self._count("response that calls the reasoning question invalid", name)
            elif not response["sub_qa"]:
                self._count("response without sub-questions", name)
            else:
                yield from ((f"{name}, sub-question {place}", pair) for place, pair in enumerate(response["sub_qa"]))

    def _candidate(self, name: str, pair: Mapping[str, Any]) -> Candidate | None:
        question, answer = pair["sub_question"], pair["sub_answer"]
        for given, reason in ((question, "question is not text"), (answer, "answer is not text")):
            if not isinstance(given, str):
                raise InvalidAnnotation(reason, name, f"its {reason.split()[0]} is {given!r:.60}; allowed is text.")
        if not same_words(question):
            self._count("sub-question without text", name)
            return None
        if not answer.strip():
            self._count("sub-question without answer", name)
            return None
        said = answer.strip().rstrip(" .!").casefold()
        mended = MENDED.get(said)
        if mended is not None:
            self._count(f"answer {said!r}, read as {mended!r}", name)
        return candidate(question, [mended or answer.strip()])
