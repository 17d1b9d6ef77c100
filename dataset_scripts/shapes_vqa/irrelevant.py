"""Questions that a reasoning question does not rest on, worded like those that it rests on."""

from collections.abc import Iterable

import numpy as np
from hf_guidance.dataset_scripts.shapes_vqa.questions import (
    Question,
    ask,
    description,
    execute,
    exist_question,
)
from hf_guidance.dataset_scripts.shapes_vqa.scenes import ATTRIBUTES, Thing

_TRIES = 8  # to describe an object in words that were not used


def irrelevant_questions(question: Question, things: list[Thing], rng: np.random.Generator) -> list[Question]:
    """For each part of a reasoning question one of the same form, about what the reasoning question does not name.

    A part about an attribute of an object becomes one about the same attribute of an object that is not needed; a part about
    whether there is a red object becomes one about another colour, with the same answer. Objects, descriptions and values are
    drawn as those of the parts, so that the words alone do not tell which is which. Fewer are returned where the scene has
    no such object or value.

    Args:
        question: A question; one without parts has no irrelevant questions.
        things: The scene.
        rng: Source of all random numbers.
    """
    _, needed = execute(question.program, things)
    others = [int(index) for index in rng.permutation(len(things)) if index not in needed]
    found: dict[str, Question] = {}
    for number, part in enumerate(question.parts):
        function = part.program[-1]["function"]
        if function == "exist":
            one = _other_value(part, question, things, rng)
        else:
            one = _other_object(function.removeprefix("query_"), others[number:] + others[:number], found, things, rng)
        if one is not None:
            found[one.text] = one
    return list(found.values())


def _other_object(
    attribute: str, others: list[int], taken: Iterable[str], things: list[Thing], rng: np.random.Generator
) -> Question | None:
    """Ask for an attribute of the first object that can be described, in words that are not taken."""
    for index in others:
        for _ in range(_TRIES):
            values = description(index, things, rng, attribute)
            if values is None:
                break
            one = ask(attribute, values)
            if one.text not in taken:
                return one
    return None


def _other_value(part: Question, question: Question, things: list[Thing], rng: np.random.Generator) -> Question | None:
    """Ask whether there is an object of another value of the same attribute, where the answer is the same."""
    step = part.program[-2]
    attribute = step["function"].removeprefix("filter_")
    named = {entry["value"] for entry in question.program if entry["function"] == step["function"]}
    present = {getattr(thing, attribute) for thing in things}
    fitting = [
        value
        for value in ATTRIBUTES[attribute]
        if value not in named and (value in present) == (step["value"] in present)
    ]
    return exist_question({attribute: fitting[int(rng.integers(len(fitting)))]}) if fitting else None
