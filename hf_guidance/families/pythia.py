"""Pythia (arXiv 1807.09956) of ``hf_guidance.models``: the question attends to boxes and to a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hf_guidance.families.updn import UpDnFamily
from hf_guidance.views.layers import FINAL, FUSION, QUESTION

MODEL_TYPES = ("pythia",)


@dataclass(frozen=True)
class PythiaFamily(UpDnFamily):
    """Views re-use the encoded question and what it sees of the grid, and hard views the encoded boxes, too.

    Attributions and views are about boxes: the grid is the same in every view.
    """

    encoded: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "grid_feats")
    of_question: ClassVar[tuple[str, ...]] = ("question_embedding", "attended_grid")
    of_boxes: ClassVar[tuple[str, ...]] = ("box_encoding", "box_projection")


def build(model: Any) -> PythiaFamily:
    """Layer "final" is the encoding of the boxes, which attention and fusion read; "fusion" is the product.

    A model without a grid is not given the column.
    """
    seen = ("box_encoder", "box_attention.projection")
    family = PythiaFamily(
        layers={FINAL: "box_encoder", FUSION: "fusion", QUESTION: "fusion.question"}, image_modules=seen
    )
    if model.grid_attention is None:
        return family
    modules = (*seen, "grid_attention.projection")
    return replace(family, inputs=(*family.inputs, "grid_feats"), image_modules=modules)
