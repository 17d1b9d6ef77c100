"""UpDn for captions (arXiv 1707.07998) of ``hf_guidance.models``: every word attends to boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hf_guidance.families.region_family import RegionFamily

MODEL_TYPES = ("updn_captioner",)


@dataclass(frozen=True)
class UpDnCaptionerFamily(RegionFamily):
    """Boxes and the words of a caption; logits are (images, times, vocabulary)."""

    inputs: tuple[str, ...] = ("input_ids", "visual_feats", "visual_attention_mask")
    times: bool = True

    def attention(self, outputs: Any) -> Tensor:
        """The attention of each word over the boxes, (images, times, objects)."""
        attention: Tensor = outputs["attention"]
        return attention


def build(model: Any) -> UpDnCaptionerFamily:
    """No layer with places lies behind the input: the boxes are projected once, and attended to at every time."""
    return UpDnCaptionerFamily(layers={}, image_modules=("box_projection",))
