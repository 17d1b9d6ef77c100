"""Pythia (arXiv 1807.09956) of ``hf_guidance.models``: the question attends to boxes and to a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from hf_guidance.families.cells import CellFamily
from hf_guidance.families.family import Family
from hf_guidance.families.updn import UpDnFamily
from hf_guidance.views.layers import FINAL, FUSION, GRID, QUESTION

MODEL_TYPES = ("pythia",)


@dataclass(frozen=True)
class PythiaFamily(UpDnFamily):
    """Views re-use the encoded question and what it sees of the grid, and hard views the encoded boxes, too.

    Attributions and views are about boxes, and the grid is the same in every view; but at the layer "grid" they are about
    its cells, (rows, height, width), and the boxes are the same.

    Attributes:
        grid: (height, width) of the grid in cells; None: as many rows as columns.
    """

    encoded: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "grid_feats")
    of_question: ClassVar[tuple[str, ...]] = ("question_embedding", "attended_grid")
    of_boxes: ClassVar[tuple[str, ...]] = ("box_encoding", "box_projection")

    grid: tuple[int, int] | None = None

    def of_layer(self, path: str, model: nn.Module) -> Family:
        """This family with the layout of one module, which at "grid" is that of cells."""
        if path == self.layers.get(GRID):
            return CellFamily(self.layers, grid=self.grid)
        return super().of_layer(path, model)


def build(model: Any) -> PythiaFamily:
    """Layer "final" is the encoding of the boxes, which attention and fusion read; "fusion" is the product.

    "grid" is the grid as it is given: outputs of the last convolution of a CNN, so that GradCAM there is GradCAM at that
    layer of the CNN. A model without a grid has no such layer, and is not given the column.
    """
    seen = ("box_encoder", "box_attention.projection")
    family = PythiaFamily(
        layers={FINAL: "box_encoder", FUSION: "fusion", QUESTION: "fusion.question"}, image_modules=seen
    )
    if model.grid_attention is None:
        return family
    return replace(
        family,
        layers={**family.layers, GRID: "grid"},
        inputs=(*family.inputs, "grid_feats"),
        image_modules=(*seen, "grid", "grid_attention.projection"),
    )
