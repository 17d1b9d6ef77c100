"""People who are not people: answers to "does the model look at the right thing?" by what is important in the image.

A simulated annotator says yes to a map if more than half of its energy lies on what is important ("energy"), or if its highest
point does ("peak"), and to a patch if more than half of it lies in the object's box. Each gives the wrong answer in a share of
the cases; the agreement rule of CRAYON settles what two say.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from hf_guidance import GuidanceCollator
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


def important_boxes(rows: Any, side: int) -> Iterator[torch.Tensor]:
    """What is important in the resized image of every row, (side, side) of zeros and ones: the box of its one object."""
    for left, top, right, bottom in boxes_of(rows, side):
        important = torch.zeros(side, side)
        important[round(top) : round(bottom), round(left) : round(right)] = 1
        yield important


def important_pixels(rows: Any, collator: GuidanceCollator, batch_size: int = 100) -> Iterator[torch.Tensor]:
    """What a collator reads as important for the label of every row, (height, width) in [0, 1] on the processed pixels.

    So people see what guidance by that collator is told: boxes, all but the boxes, or boxes at random places; cropped as the
    image is. Rows have one label each.
    """
    for start in range(0, len(rows), batch_size):
        yield from collator([rows[place] for place in range(start, min(start + batch_size, len(rows)))])["importance"]


def energy_inside(maps: Sequence[np.ndarray], important: Iterable[torch.Tensor]) -> np.ndarray:
    """Share of each map's positive energy that lies on what is important; 0 for a map without energy."""
    shares = []
    for large, where in _on_pixels(maps, important):
        total = float(large.sum())
        shares.append(float((large * where).sum()) / total if total else 0.0)
    return np.array(shares)


def peak_inside(maps: Sequence[np.ndarray], important: Iterable[torch.Tensor]) -> np.ndarray:
    """Whether the highest point of each map is important, as the pointing game asks; no for a map without energy."""
    return np.array(
        [bool(large.any() and where.flatten()[large.argmax()] > 0.5) for large, where in _on_pixels(maps, important)]
    )


def _on_pixels(
    maps: Sequence[np.ndarray], important: Iterable[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for values, where in zip(maps, important, strict=True):
        yield resize_maps(torch.as_tensor(values)[None].clamp_min(0), (where.shape[0], where.shape[1]))[0], where


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
    maps: Sequence[np.ndarray], important: Iterable[torch.Tensor], annotators: int, noise: float,
    generator: np.random.Generator, judge: str = "energy",
) -> list[str]:  # fmt: skip
    """Answers about the map of every row, judged by its energy or by its peak."""
    truth = peak_inside(maps, important) if judge == "peak" else energy_inside(maps, important) > 0.5
    return asked(truth, annotators, noise, generator)


def answers_about_patches(
    table: PatchTable, rows: Any, side: int, annotators: int, noise: float, generator: np.random.Generator
) -> dict[Patch, str]:
    """Answers about the patches of all channels; each patch is asked for once."""
    patches, boxes = list(table.unique()), boxes_of(rows, side)
    truth = [inside(table.box(patch), boxes[patch.image]) > 0.5 for patch in patches]
    return dict(zip(patches, asked(truth, annotators, noise, generator), strict=True))
