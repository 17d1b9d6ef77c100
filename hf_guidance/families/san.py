"""Stacked attention networks (arXiv 1511.02274) of ``hf_guidance.models``: the question attends to boxes several times."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.updn import UpDnFamily
from hf_guidance.views.layers import FINAL, FUSION

MODEL_TYPES = ("san",)


def build(model: Any) -> UpDnFamily:
    """Layer "final" is the projection of the boxes, which every hop reads; "fusion" is the query after the last one.

    There is no product, and so no layer "question".
    """
    hops = tuple(f"hops.{index}.box" for index in range(len(model.hops)))
    return UpDnFamily(layers={FINAL: "box_projection", FUSION: "fusion"}, image_modules=("box_projection", *hops))
