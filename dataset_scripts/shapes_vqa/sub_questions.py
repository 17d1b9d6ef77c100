"""Sub-questions of a reasoning question, and for each one an irrelevant question that words do not tell from it."""

import itertools

import numpy as np
from hf_guidance.dataset_scripts.shapes_vqa.questions import NAMING, RELATIONS, Question, ask, execute, matching
from hf_guidance.dataset_scripts.shapes_vqa.scenes import Thing

Pair = tuple[Question, Question]
"""A sub-question and its irrelevant question."""


def question_pairs(question: Question, things: list[Thing], rng: np.random.Generator) -> list[Pair]:
    """Questions that a question rests on, each with one that it does not rest on, of the same form and shared words.

    A comparison or relation rests on an attribute, or the place, of each of its two objects. Whether or how many objects there
    are rests on the attributes that it asks for, of an object that it needs; one of these objects is asked about.

    The irrelevant question asks for the same attribute of an object that is not needed. Both describe their object by the same
    attributes, and share the same words with the question: they differ in words only that it does not have, so that no
    object is described as in the question. All questions of a scene have as many words, and share as many. Where the scene
    has no such pair, there is none, rather than a sub-question without the like.

    Args:
        question: A question; one that asks for an attribute of an object rests on no others.
        things: The scene.
        rng: Source of all random numbers.

    Returns:
        As many pairs as the scene allows, at most two, drawn among all that are so many. All texts differ.
    """
    _, needed = execute(question.program, things)
    words = _words(question)
    others = [index for index in range(len(things)) if index not in needed]
    drawn = []
    for parts in _rests_on(question, needed):
        candidates = [_candidates(*part, others, words, things) for part in parts]
        for counts in sorted({_counts(pair, words) for pairs in candidates for pair in pairs}):
            alike = [[pair for pair in pairs if _counts(pair, words) == counts] for pairs in candidates]
            drawn.append(_draw(alike, rng))
    most = [pairs for pairs in drawn if len(pairs) == max(map(len, drawn))]
    return most[int(rng.integers(len(most)))] if most else []


def _rests_on(question: Question, needed: list[int]) -> list[list[tuple[str, int]]]:
    """Ways to ask what a question rests on, each a list of attributes and objects."""
    function = question.program[-1]["function"]
    if function.startswith("query_"):
        return []
    if function in RELATIONS:
        return [[("place", index) for index in needed]]
    if function.startswith("same_"):
        return [[(function.removeprefix("same_"), index) for index in needed]]
    steps = [entry["function"] for entry in question.program]
    named = [name.removeprefix("filter_") for name in steps if name.startswith("filter_")]
    return [[(attribute, index) for attribute in named] for index in needed]


def _candidates(attribute: str, index: int, others: list[int], words: set[str], things: list[Thing]) -> list[Pair]:
    """All pairs that ask for an attribute of an object, and of another, by the same attributes and shared words."""
    own = {_form(values, words): values for values in _descriptions(index, things, attribute)}
    return [
        (ask(attribute, own[_form(values, words)]), ask(attribute, values))
        for other in others
        for values in _descriptions(other, things, attribute)
        if _form(values, words) in own
    ]


def _draw(candidates: list[list[Pair]], rng: np.random.Generator) -> list[Pair]:
    """One pair of each list that has one whose irrelevant question was not drawn before."""
    found: list[Pair] = []
    for pairs in candidates:
        taken = {other.text for _, other in found}
        free = [pair for pair in pairs if pair[1].text not in taken]
        if free:
            found.append(free[int(rng.integers(len(free)))])
    return found


def _words(question: Question) -> set[str]:
    return set(question.text.rstrip("?").split())


def _counts(pair: Pair, words: set[str]) -> tuple[int, int]:
    """How many words each question of a pair has, and how many of them are among the given ones."""
    own = _words(pair[0])
    return len(own), len(own & words)


def _form(values: dict[str, str], words: set[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The attributes of a description, and which of its words are among the given ones."""
    return tuple(values), frozenset(word for value in values.values() for word in value.split() if word in words)


def _descriptions(index: int, things: list[Thing], hidden: str) -> list[dict[str, str]]:
    """All ways to tell an object from the others by one or two attributes, without the hidden one."""
    names = [name for name in NAMING if name != hidden]
    choices = [*itertools.combinations(names, 1), *itertools.combinations(names, 2)]
    described = [{name: getattr(things[index], name) for name in chosen} for chosen in choices]
    return [values for values in described if len(matching(values, things)) == 1]
