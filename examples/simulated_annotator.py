"""People who are not people: answers to "does the model look at the right thing?" by where the object is.

A simulated annotator says yes to a map if more than half of its energy lies in the object's box, and to a patch if more than
half of it does. Each gives the wrong answer in a share of the cases; the agreement rule of CRAYON settles what two say.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from hf_guidance.data.images.votes import AgreementRule
from hf_guidance.evaluation.patches import Patch, PatchTable
from hf_guidance.forward.maps import resize_maps

Box = tuple[float, float, float, float]


def boxes_of(rows: Any) -> list[Box]:
    """The box of the one object of every row, xyxy in pixels."""
    return [tuple(objects[0]["bbox"]) for objects in rows["objects"]]


def energy_inside(maps: Sequence[np.ndarray], boxes: Sequence[Box], side: int) -> np.ndarray:
    """Share of each map's positive energy inside its box, on the pixels; 0 for a map without energy."""
    shares = []
    for values, (left, top, right, bottom) in zip(maps, boxes, strict=True):
        large = resize_maps(torch.as_tensor(values)[None].clamp_min(0), (side, side))[0]
        total = float(large.sum())
        inside = float(large[int(top) : round(bottom), int(left) : round(right)].sum())
        shares.append(inside / total if total else 0.0)
    return np.array(shares)


def inside(patch: Box, box: Box) -> float:
    """Share of a patch that lies in a box."""
    width = min(patch[2], box[2]) - max(patch[0], box[0])
    height = min(patch[3], box[3]) - max(patch[1], box[1])
    return max(0.0, width) * max(0.0, height) / ((patch[2] - patch[0]) * (patch[3] - patch[1]))


def asked(truth: Iterable[bool], annotators: int, noise: float, generator: np.random.Generator) -> list[str]:
    """What several annotators agree on."""
    right = np.asarray(list(truth))
    said = [np.where(generator.random(len(right)) < noise, ~right, right) for _ in range(annotators)]
    rule = AgreementRule()
    return [rule(["yes" if answer else "no" for answer in answers]) for answers in zip(*said, strict=True)]


def answers_about_maps(
    maps: Sequence[np.ndarray], rows: Any, side: int, annotators: int, noise: float, generator: np.random.Generator
) -> list[str]:
    """Answers about the map of every row."""
    return asked(energy_inside(maps, boxes_of(rows), side) > 0.5, annotators, noise, generator)


def answers_about_patches(
    table: PatchTable, rows: Any, annotators: int, noise: float, generator: np.random.Generator
) -> dict[Patch, str]:
    """Answers about the patches of all channels; each patch is asked for once."""
    patches, boxes = list(table.unique()), boxes_of(rows)
    truth = [inside(table.box(patch), boxes[patch.image]) > 0.5 for patch in patches]
    return dict(zip(patches, asked(truth, annotators, noise, generator), strict=True))
