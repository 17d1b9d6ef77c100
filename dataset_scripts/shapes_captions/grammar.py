"""Captions of scenes of shapes: which objects they name, with which words, and what is named together."""

import dataclasses

import numpy as np
from hf_guidance.dataset_scripts.shapes_vqa.scenes import ATTRIBUTES, PIXELS, Thing, sample_scene

SHAPES, COLOURS = ATTRIBUTES["shape"], ATTRIBUTES["colour"]
NAMED = (2, 3)  # objects that a caption names
_NEAR = (1, len(SHAPES) - 1)  # places from one shape to its neighbours, the shapes in a ring


def companion_weights(shape: str, ratio: float, ood: bool) -> np.ndarray:
    """How often each shape is named with another: of the ring of shapes, its two neighbours `ratio` times as often.

    Out of distribution it is the two others. A shape is as frequent as any other in both cases; 0 for the shape itself.
    """
    places = (np.arange(len(SHAPES)) - SHAPES.index(shape)) % len(SHAPES)
    weights = np.where(np.isin(places, _NEAR) != ood, ratio, 1.0)
    return np.where(places == 0, 0.0, weights)


def colour_prior(shape: str, ratio: float, ood: bool) -> np.ndarray:
    """Probability of each colour of a named shape: falls geometrically, the last is named `ratio` times as rarely as the first.

    Each shape has another first colour. Out of distribution the order is reversed.
    """
    first = SHAPES.index(shape) * len(COLOURS) // len(SHAPES)
    ranks = (np.arange(len(COLOURS)) - first) % len(COLOURS)
    weights = ratio ** -((len(COLOURS) - 1 - ranks if ood else ranks) / (len(COLOURS) - 1))
    return weights / weights.sum()


def sample_named_scene(
    rng: np.random.Generator, low: int, high: int, ratio: float, ood: bool
) -> tuple[list[Thing], list[int]]:
    """A scene of shapes_vqa whose large objects, two or three of them, have shapes and colours by the prior.

    Args:
        rng: source of all random numbers.
        low: least number of objects.
        high: largest number of objects.
        ratio: strength of the prior; 1: none.
        ood: whether the prior is the other one.

    Returns:
        The objects, and the indices of the large ones, which captions name.
    """
    wanted = NAMED[int(rng.integers(len(NAMED)))]
    while True:
        things = sample_scene(rng, int(rng.integers(low, high + 1)))
        named = [index for index, thing in enumerate(things) if thing.box[2] - thing.box[0] == PIXELS["large"]]
        if len(named) == wanted:
            break
    shapes = [SHAPES[int(rng.integers(len(SHAPES)))]]
    while len(shapes) < wanted:
        weights = companion_weights(shapes[-1], ratio, ood)
        weights = weights * [
            name not in shapes for name in SHAPES
        ]  # one object of a shape is named, so that words tell
        shapes.append(SHAPES[int(rng.choice(len(SHAPES), p=weights / weights.sum()))])
    for index, shape in zip(rng.permutation(named), shapes, strict=True):
        colour = COLOURS[int(rng.choice(len(COLOURS), p=colour_prior(shape, ratio, ood)))]
        things[int(index)] = dataclasses.replace(things[int(index)], shape=shape, colour=colour)
    return things, named


def describe(things: list[Thing], named: list[int], rng: np.random.Generator) -> str:
    """One caption: the named objects in random order, the first with its relation to each other one."""
    order = [things[int(index)] for index in rng.permutation(named)]
    phrases = [_phrase(thing, rng) for thing in order]
    related = [f"{_relation(order[0], other)} {phrase}" for other, phrase in zip(order[1:], phrases[1:], strict=True)]
    form = ("{} {}", "{} is {}", "there is {} {}")[int(rng.integers(3))]
    return form.format(phrases[0], " and ".join(related))


def _phrase(thing: Thing, rng: np.random.Generator) -> str:
    """Its colour and shape, with its material in half of the cases."""
    words = [thing.colour, thing.shape]
    if rng.random() < 0.5:
        words.insert(0, thing.material)
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def _relation(thing: Thing, other: Thing) -> str:
    """Where a thing is, seen from another: along the axis on which they are farther apart."""
    across, down = (other.box[axis] + other.box[axis + 2] - thing.box[axis] - thing.box[axis + 2] for axis in (0, 1))
    if abs(across) >= abs(down):
        return "left of" if across > 0 else "right of"
    return "above" if down > 0 else "below"
