"""Noisy box features of a scene, as a detector would give them, with distractor boxes that no question asks about."""

import functools
from typing import Any

import numpy as np
from hf_guidance.dataset_scripts.shapes_vqa.scenes import ATTRIBUTES, SIDE, Thing

CODED = ("colour", "shape", "size", "material")
_CODE_SEED = 2022  # the code is the same in every split and for every seed, as with a trained detector


@functools.cache
def codes(dims: int) -> dict[str, np.ndarray]:
    """attribute -> (values, dims), and "geometry" -> (6, dims): the fixed linear code, standard normal."""
    rng = np.random.default_rng(_CODE_SEED)
    drawn = {name: rng.standard_normal((len(ATTRIBUTES[name]), dims)) for name in CODED}
    return {**drawn, "geometry": rng.standard_normal((6, dims))}


def appearance(thing: Thing, dims: int) -> np.ndarray:
    """(dims,): the sum of the codes of an object's attributes."""
    table = codes(dims)
    return np.sum([table[name][ATTRIBUTES[name].index(getattr(thing, name))] for name in CODED], axis=0)


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of xyxy boxes (n, 4) and (m, 4)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(part[:, 2:] - part[:, :2], axis=-1) for part in (boxes, others)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def make_regions(
    things: list[Thing], rng: np.random.Generator, num_boxes: int, dims: int, noise: float, duplicates: float
) -> dict[str, Any]:
    """Make the boxes of a scene, in random order, with their features.

    Every object has one box of its own. A share `duplicates` of the other boxes are jittered copies of an object's box,
    whose code fades with the overlap; the rest lie anywhere and look like a faint mixture of attributes.

    Args:
        things: the scene.
        rng: source of all random numbers.
        num_boxes: number of all boxes, at least one per object.
        dims: length of a feature.
        noise: standard deviation of the Gaussian noise on every feature.
        duplicates: share in [0, 1].

    Returns:
        `boxes` (num_boxes, 4) xyxy in [0, 1], `features` (num_boxes, dims), both float32, and `owner` (num_boxes,): the
        index of the object whose own box it is, -1 for the others.
    """
    own = np.array([thing.box for thing in things]) / SIDE
    looks = np.stack([appearance(thing, dims) for thing in things])
    others = num_boxes - len(things)
    copies = round(duplicates * others)
    copied = rng.integers(len(things), size=copies)
    sizes = np.tile(own[copied, 2:] - own[copied, :2], 2)
    jittered = np.clip(own[copied] + sizes * rng.uniform(-0.3, 0.3, (copies, 4)), 0, 1)
    centres, extents = rng.uniform(0.1, 0.9, (others - copies, 2)), rng.uniform(0.08, 0.3, (others - copies, 2))
    anywhere = np.clip(np.concatenate([centres - extents / 2, centres + extents / 2], axis=1), 0, 1)
    table = codes(dims)
    faint = np.zeros((others - copies, dims))
    for name in CODED:
        faint += table[name][rng.integers(len(table[name]), size=len(faint))]
    overlap = iou(jittered, own)[np.arange(copies), copied]
    boxes = np.concatenate([own, jittered, anywhere])
    seen = np.concatenate([looks, overlap[:, None] * looks[copied], rng.uniform(0, 0.5, (len(faint), 1)) * faint])
    geometry = np.concatenate([(boxes - 0.5) * 2, (boxes[:, 2:] - boxes[:, :2]) * 2], axis=1)
    features = seen + geometry @ table["geometry"] + noise * rng.standard_normal(seen.shape)
    owner = np.concatenate([np.arange(len(things)), np.full(others, -1)])
    order = rng.permutation(num_boxes)
    return {
        "boxes": boxes[order].astype(np.float32),
        "features": features[order].astype(np.float32),
        "owner": owner[order],
    }
