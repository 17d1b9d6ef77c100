"""Which objects of a scene a CLEVR question is about: its program, run on the scene."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Sets = list[list[int] | None]

KINDS = ("single_object", "all_objects", "unique", "unique_firstnonempty", "union")
"""CLEVR-XAI's kinds of ground truth."""
_ATTRIBUTES = ("color", "material", "shape", "size")


def step_name(step: Mapping[str, Any]) -> str:
    """What a step does: CLEVR calls it "function", CLEVR-XAI and CLEVR's generator "type"."""
    return str(step.get("type") or step.get("function") or "")


def object_sets(program: Sequence[Mapping[str, Any]], scene: Mapping[str, Any]) -> Sets:
    """Run a program: the objects that each step puts out, sorted; None for a step that puts out none (counts, answers).

    Args:
        program: Steps with their name, ``inputs`` (earlier steps), and ``value_inputs`` or, as the generator writes it,
            ``side_inputs``.
        scene: ``objects`` with their attributes, and ``relationships``: direction -> for each object those on that side.

    Raises:
        LookupError: A step that reads a step without objects, or an object or direction that the scene lacks.
        ValueError: A step "unique" that finds not one object.
    """
    sets: Sets = []
    for step in program:
        name, given = step_name(step), [sets[number] for number in step.get("inputs") or []]
        values = step.get("value_inputs") or step.get("side_inputs") or []
        sets.append(_run(name, given, values, scene))
    return sets


def _run(name: str, given: Sets, values: Sequence[str], scene: Mapping[str, Any]) -> list[int] | None:
    objects = scene["objects"]
    before, _, attribute = name.partition("_")
    if name == "scene":
        return list(range(len(objects)))
    if before == "filter" and attribute in _ATTRIBUTES:
        return [number for number in _objects(given[0]) if objects[number][attribute] == values[0]]
    if name == "relate":
        return sorted(scene["relationships"][values[0]][_one(given[0])])
    if before == "same" and attribute in _ATTRIBUTES:
        asked = _one(given[0])
        looks = objects[asked][attribute]
        return [number for number, thing in enumerate(objects) if number != asked and thing[attribute] == looks]
    if name == "unique":
        return [_one(given[0])]
    if name in ("union", "intersect"):
        joined: Callable[[set[int], set[int]], set[int]] = set.union if name == "union" else set.intersection
        return sorted(joined(set(_objects(given[0])), set(_objects(given[1]))))
    return None


def _objects(given: list[int] | None) -> list[int]:
    if given is None:
        raise LookupError("a step of the program reads objects from a step that has none")
    return given


def _one(given: list[int] | None) -> int:
    if len(_objects(given)) != 1:
        raise ValueError(
            f"a step of the program needs one object and finds {given}: it is not the program of this scene"
        )
    return _objects(given)[0]


def important_objects(program: Sequence[Mapping[str, Any]], scene: Mapping[str, Any], kind: str) -> list[int]:
    """The objects that matter to a question, sorted.

    Args:
        program: See `object_sets`.
        scene: See `object_sets`.
        kind: "all_objects": of the scene. "unique": found by a step "unique". "single_object": the same, where it is one object
            (none where it is several). "union": put out by any step but the first, "scene". "unique_firstnonempty": "unique",
            and the last step's objects before the answer, or where it has none the nearest earlier ones (before an
            empty "union" or "intersect" those of each of its inputs). These are the rules of CLEVR-XAI's released code.
    """
    sets = object_sets(program, scene)
    names = [step_name(step) for step in program]
    if kind == "all_objects":
        return list(range(len(scene["objects"])))
    unique = {number for name, found in zip(names, sets, strict=True) if name == "unique" for number in found or []}
    if kind == "single_object":
        return sorted(unique) if len(unique) == 1 else []
    if kind == "union":
        return sorted({number for found in sets[1:] for number in found or []})
    if kind == "unique_firstnonempty":
        unique |= _first_found(program, names, sets)
    return sorted(unique)


def _first_found(program: Sequence[Mapping[str, Any]], names: Sequence[str], sets: Sets) -> set[int]:
    for place in range(len(sets) - 1, 0, -1):
        if sets[place] is None or names[place] in ("scene", "unique"):
            continue
        if sets[place]:
            return set(sets[place] or [])
        if names[place] in ("union", "intersect"):
            return set().union(*(_nearest(program, names, sets, start) for start in program[place]["inputs"]))
    return set()


def _nearest(program: Sequence[Mapping[str, Any]], names: Sequence[str], sets: Sets, place: int) -> list[int]:
    """The objects of a step, or of the nearest of its inputs that has any."""
    while names[place] != "scene":
        if names[place] != "unique" and sets[place]:
            return sets[place] or []
        place = program[place]["inputs"][0]
    return []
