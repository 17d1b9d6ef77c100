"""UpDn (arXiv 1707.07998) of ``hf_guidance.models``: the question attends to boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from hf_guidance.families.family import FullCall, repeated
from hf_guidance.families.region_family import RegionFamily
from hf_guidance.views.layers import FUSION, QUESTION

MODEL_TYPES = ("updn",)


@dataclass(frozen=True)
class UpDnFamily(RegionFamily):
    """Views re-use the encoded question of the full input's outputs, and hard views the projected boxes, too.

    Attributes:
        encoded: Arguments that views do without.
        of_question: Outputs that they take instead, where the model has them.
        of_boxes: Further outputs that hard views take.
    """

    encoded: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    of_question: ClassVar[tuple[str, ...]] = ("question_embedding",)
    of_boxes: ClassVar[tuple[str, ...]] = ("box_projection",)

    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "visual_feats", "visual_pos", "visual_attention_mask")

    def call(self, model: nn.Module, inputs: Mapping[str, Any], copies: Tensor, full: FullCall) -> Any:
        """Call the model on edited copies, without encoding the question again."""
        rest = {name: value for name, value in inputs.items() if name not in (*self.encoded, self.features)}
        count = len(copies) // len(inputs[self.features])
        question = {name: full.outputs[name] for name in self.of_question if name in full.outputs}
        return model(**repeated(rest | question, count), **{self.features: copies})

    def call_hard(self, model: nn.Module, inputs: Mapping[str, Any], keep: Tensor, fill: Tensor, full: FullCall) -> Any:
        """Call the model with masks of the projected boxes: nothing is encoded again, and no copy is made."""
        rest = {name: value for name, value in inputs.items() if name not in self.encoded}
        given = {name: full.outputs[name] for name in (*self.of_question, *self.of_boxes) if name in full.outputs}
        return model(**rest, **given, keep=keep.flatten(0, 1), fill=fill)

    def attention(self, outputs: Any) -> Tensor:
        """The attention of the question over the boxes, (images, objects)."""
        attention: Tensor = outputs["attention"]
        return attention


def build(model: Any) -> UpDnFamily:
    """No layer with places lies behind the input: the boxes are projected once and then summed.

    "fusion" is the product, "question" its gate before the ReLU.
    """
    return UpDnFamily(layers={FUSION: "fusion", QUESTION: "question_gate"}, image_modules=("box_projection",))
