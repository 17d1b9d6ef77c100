"""Questions with programs: generated for a wanted answer, and executed on a scene."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from hf_guidance.dataset_scripts.shapes_vqa.scenes import ATTRIBUTES, Thing

YES_NO = ("yes", "no")
RELATIONS = {"left_of": "left of", "right_of": "right of", "above": "above", "below": "below"}
COUNTS = ("0", "1", "2", "3")
KINDS = {
    **{f"query_{name}": values for name, values in ATTRIBUTES.items()},
    "exist": YES_NO,
    **{f"same_{name}": YES_NO for name in ("colour", "shape", "size", "material")},
    "count": COUNTS,
    **dict.fromkeys(RELATIONS, YES_NO),
}
"""question_type -> its answers."""
_DESCRIBING = ("size", "colour", "material", "shape")
NAMING = ("place", *_DESCRIBING)
"""Attributes that can name an object, in the order in which English says them; only sub-questions name it by its place."""
Program = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """Text and program."""

    text: str
    program: Program


def step(function: str, value: str = "", inputs: tuple[int, ...] = ()) -> dict[str, Any]:
    """One step of a program; `inputs` are the numbers of the steps whose results it takes."""
    return {"function": function, "value": value, "inputs": list(inputs)}


def execute(program: Program, things: list[Thing]) -> tuple[str, list[int]]:
    """Execute a program on a scene.

    Args:
        program: steps as in the column `program`; `inputs` name earlier steps.
        things: the scene.

    Returns:
        The answer, and the indices of the objects it needs: those that the last step is about. An existence question
        needs the objects that it finds or, if it finds none, those that its last filter rejected.

    Raises:
        ValueError: for an unknown function, or when `unique` gets no object or several.
    """
    results: list[Any] = []
    for number, entry in enumerate(program):
        function, value = entry["function"], entry["value"]
        given = [results[index] for index in entry["inputs"]]
        verb, _, attribute = function.partition("_")
        if function == "scene":
            results.append(list(range(len(things))))
        elif verb == "filter":
            results.append([index for index in given[0] if getattr(things[index], attribute) == value])
        elif function == "unique":
            if len(given[0]) != 1:
                raise ValueError(f"program, step {number}: unique got {len(given[0])} objects; allowed: exactly 1.")
            results.append(given[0])
        elif verb == "query":
            return getattr(things[given[0][0]], attribute), given[0]
        elif function == "exist":
            last_filter = program[entry["inputs"][0]]
            return ("yes", given[0]) if given[0] else ("no", results[last_filter["inputs"][0]])
        elif function == "count":
            return str(len(given[0])), given[0]
        elif verb == "same" or function in RELATIONS:
            (one,), (other,) = given
            holds = _holds(function, things[one], things[other])
            return YES_NO[0] if holds else YES_NO[1], [one, other]
        else:
            raise ValueError(
                f"program, step {number}: got {function!r}; allowed: scene, filter_*, unique, {list(KINDS)}."
            )
    raise ValueError(f"program: no step gives an answer; it has {[entry['function'] for entry in program]}.")


def _holds(function: str, one: Thing, other: Thing) -> bool:
    if function not in RELATIONS:
        attribute = function.removeprefix("same_")
        return bool(getattr(one, attribute) == getattr(other, attribute))
    axis = 0 if function in ("left_of", "right_of") else 1
    first, second = (thing.box[axis] + thing.box[axis + 2] for thing in (one, other))  # twice the centre
    return first < second if function in ("left_of", "above") else first > second


def make_question(kind: str, answer: str, things: list[Thing], rng: np.random.Generator) -> Question | None:
    """A question of a kind with the wanted answer, or None where the scene allows none."""
    if kind.startswith("query_"):
        return _query(kind.removeprefix("query_"), answer, things, rng)
    if kind == "exist":
        return _exist(answer, things, rng)
    if kind == "count":
        return _count(answer, things, rng)
    return _pair(kind, answer, things, rng)


def _named(values: dict[str, str], plural: bool = False) -> str:
    words = [values[name] for name in NAMING if name in values]
    words += [] if "shape" in values else ["object"]
    end = {True: "es" if words[-1].endswith("s") else "s", False: ""}[plural]
    return " ".join(words) + end


def _filters(values: dict[str, str], start: int = 0) -> Program:
    """`scene` and one filter per attribute; `start` is the number of the first step."""
    chain = [step("scene")]
    return chain + [step(f"filter_{k}", v, (start + i,)) for i, (k, v) in enumerate(values.items())]


def description(index: int, things: list[Thing], rng: np.random.Generator, hidden: str = "") -> dict[str, str] | None:
    """One or two random attributes that only this object has; `hidden` is the attribute that the question asks for."""
    names = [name for name in _DESCRIBING if name != hidden]
    choices = [*itertools.combinations(names, 1), *itertools.combinations(names, 2)]
    for number in rng.permutation(len(choices)):
        values = {name: getattr(things[index], name) for name in choices[number]}
        if len(matching(values, things)) == 1:
            return values
    return None


def matching(values: dict[str, str], things: list[Thing]) -> list[int]:
    """The indices of the objects with these values."""
    return [i for i, thing in enumerate(things) if all(getattr(thing, k) == v for k, v in values.items())]


def ask(attribute: str, values: dict[str, str]) -> Question:
    """Ask for an attribute of the object with these values of other attributes."""
    text = f"where is the {_named(values)}?" if attribute == "place" else f"what {attribute} is the {_named(values)}?"
    chain = _filters(values)
    program = [*chain, step("unique", "", (len(chain) - 1,)), step(f"query_{attribute}", "", (len(chain),))]
    return Question(text, program)


def _query(attribute: str, answer: str, things: list[Thing], rng: np.random.Generator) -> Question | None:
    for index in rng.permutation(matching({attribute: answer}, things)):
        values = description(int(index), things, rng, attribute)
        if values is not None:
            return ask(attribute, values)
    return None


def _exist_question(values: dict[str, str]) -> Question:
    """Ask whether there is an object with these values."""
    chain, name = _filters(values), _named(values)
    article = "an" if name[0] in "aeiou" else "a"
    return Question(f"is there {article} {name}?", [*chain, step("exist", "", (len(chain) - 1,))])


def _exist(answer: str, things: list[Thing], rng: np.random.Generator) -> Question | None:
    """Ask for two attributes; some object has the first, so that a "no" also rests on objects of the scene."""
    thing = things[int(rng.integers(len(things)))]
    first, second = (("colour", "shape"), ("shape", "colour"))[int(rng.integers(2))]
    values = {first: getattr(thing, first), second: getattr(thing, second)}
    if answer == "no":
        values[second] = ATTRIBUTES[second][int(rng.integers(len(ATTRIBUTES[second])))]
    if bool(matching(values, things)) != (answer == "yes"):
        return None
    return _exist_question(values)


def _count(answer: str, things: list[Thing], rng: np.random.Generator) -> Question | None:
    name = ("colour", "shape")[int(rng.integers(2))]
    fitting = [v for v in ATTRIBUTES[name] if str(len(matching({name: v}, things))) == answer]
    if not fitting:
        return None
    values = {name: fitting[int(rng.integers(len(fitting)))]}
    chain = _filters(values)
    text = f"how many {_named(values, plural=True)} are there?"
    return Question(text, [*chain, step("count", "", (len(chain) - 1,))])


def _pair(kind: str, answer: str, things: list[Thing], rng: np.random.Generator) -> Question | None:
    """Compare two described objects."""
    attribute = kind.removeprefix("same_") if kind not in RELATIONS else "place"
    one, other = (int(index) for index in rng.permutation(len(things))[:2])
    if _holds(kind, things[one], things[other]) != (answer == "yes"):
        return None
    descriptions = [description(index, things, rng, attribute) for index in (one, other)]
    if descriptions[0] is None or descriptions[1] is None:
        return None
    program: Program = []
    for values in descriptions:
        chain = _filters(values, start=len(program))
        program += [*chain, step("unique", "", (len(program) + len(chain) - 1,))]
    ends = tuple(number for number, entry in enumerate(program) if entry["function"] == "unique")
    first, second = (_named(values) for values in descriptions)
    if kind in RELATIONS:
        text = f"is the {first} {RELATIONS[kind]} the {second}?"
    else:
        text = f"is the {first} of the same {attribute} as the {second}?"
    return Question(text, [*program, step(kind, "", ends)])
