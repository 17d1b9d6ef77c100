"""People who are not people: answers to "does the model look at the right thing?" by where the object is.

A simulated annotator says yes to a map if more than half of its energy lies in the object's box ("energy"), or if its highest
point does ("peak"), and to a patch if more than half of it does. Each gives the wrong answer in a share of the cases; the
agreement rule of CRAYON settles what two say.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from hf_guidance.data.images.votes import AgreementRule
from hf_guidance.evaluation.patches import Patch, PatchTable
from hf_guidance.forward.maps import resize_maps

Box = tuple[float, float, float, float]
JUDGES = ("energy", "peak")


def boxes_of(rows: Any, side: int) -> list[Box]:
    """The box of the one object of every row, xyxy in pixels of its image after it was resized to side x side."""
    boxes = []
    for row in rows.select_columns(["image", "objects"]):
        width, height = row["image"].size
        left, top, right, bottom = row["objects"][0]["bbox"]
        boxes.append((left * side / width, top * side / height, right * side / width, bottom * side / height))
    return boxes


def energy_inside(maps: Sequence[np.ndarray], boxes: Sequence[Box], side: int) -> np.ndarray:
    """Share of each map's positive energy inside its box, on the pixels; 0 for a map without energy."""
    shares = []
    for large, (left, top, right, bottom) in zip(_on_pixels(maps, side), boxes, strict=True):
        total = float(large.sum())
        inside = float(large[round(top) : round(bottom), round(left) : round(right)].sum())
        shares.append(inside / total if total else 0.0)
    return np.array(shares)


def peak_inside(maps: Sequence[np.ndarray], boxes: Sequence[Box], side: int) -> np.ndarray:
    """Whether the highest point of each map lies inside its box, as the pointing game asks; no for a map without energy."""
    inside = []
    for large, (left, top, right, bottom) in zip(_on_pixels(maps, side), boxes, strict=True):
        row, column = divmod(int(large.argmax()), side)
        inside.append(bool(large.any()) and top <= row < bottom and left <= column < right)
    return np.array(inside)


def _on_pixels(maps: Sequence[np.ndarray], side: int) -> Iterator[torch.Tensor]:
    for values in maps:
        yield resize_maps(torch.as_tensor(values)[None].clamp_min(0), (side, side))[0]


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
    maps: Sequence[np.ndarray], rows: Any, side: int, annotators: int, noise: float, generator: np.random.Generator,
    judge: str = "energy",
) -> list[str]:  # fmt: skip
    """Answers about the map of every row, judged by its energy or by its peak."""
    boxes = boxes_of(rows, side)
    truth = peak_inside(maps, boxes, side) if judge == "peak" else energy_inside(maps, boxes, side) > 0.5
    return asked(truth, annotators, noise, generator)


def answers_about_patches(
    table: PatchTable, rows: Any, side: int, annotators: int, noise: float, generator: np.random.Generator
) -> dict[Patch, str]:
    """Answers about the patches of all channels; each patch is asked for once."""
    patches, boxes = list(table.unique()), boxes_of(rows, side)
    truth = [inside(table.box(patch), boxes[patch.image]) > 0.5 for patch in patches]
    return dict(zip(patches, asked(truth, annotators, noise, generator), strict=True))
