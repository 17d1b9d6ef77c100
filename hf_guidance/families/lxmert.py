"""LXMERT of transformers for question answering, with any number of answers (``config.num_qa_labels``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hf_guidance.families.family import FullCall, repeated
from hf_guidance.families.region_family import RegionFamily
from hf_guidance.families.stages import spread
from hf_guidance.views.layers import FUSION

MODEL_TYPES = ("lxmert",)


@dataclass(frozen=True)
class LxmertFamily(RegionFamily):
    """Views re-use the encoded question of the full input: the language layers are called once per step.

    The boxes are encoded anew for every view, because the relational layers mix them from the first layer on.
    """

    logits: str = "question_answering_score"

    def call(self, model: nn.Module, inputs: Mapping[str, Any], copies: Tensor, full: FullCall) -> Any:
        """Call the model on edited copies, without its language layers."""
        count = len(copies) // len(inputs[self.features])
        language = full.shared[self.shared[0]].repeat(count, 1, 1)
        with _language_given(model, language):
            return model(**repeated(inputs, count) | {self.features: copies})

    def attention(self, outputs: Any) -> Tensor:
        """Attention of the first token over the boxes in the last cross-modality layer, mean over heads."""
        attention: Tensor = outputs["cross_encoder_attentions"][-1][:, :, 0].mean(1)
        return attention

    @property
    def attention_inputs(self) -> dict[str, Any]:
        """``output_attentions``, without which LXMERT returns no attention."""
        return {"output_attentions": True}


def build(model: Any) -> LxmertFamily:
    """Layers are the modules that encode the boxes: embedding, relational layers, cross-modality layers but the last.

    Only the first token of the question reaches the head, so the boxes have no gradient after the last layer. That token,
    pooled, is "fusion".

    Note:
        The features go through a Linear and then a LayerNorm, which does not depend on their scale: InputXGradient at the
        input is small (zero without the Linear's bias). Gradient and the perturbation methods are not affected.
    """
    encoder = model.lxmert.encoder
    relational = [f"lxmert.encoder.r_layers.{i}.output" for i in range(len(encoder.r_layers))]
    crossed = [f"lxmert.encoder.x_layers.{i}.visn_output" for i in range(len(encoder.x_layers) - 1)]
    language = f"lxmert.encoder.layer.{len(encoder.layer) - 1}" if len(encoder.layer) else "lxmert.embeddings"
    layers = spread(["lxmert.encoder.visn_fc", *relational, *crossed]) | {FUSION: "lxmert.pooler"}
    seen = ("lxmert.encoder.visn_fc", *(f"lxmert.encoder.r_layers.{i}" for i in range(len(encoder.r_layers))))
    return LxmertFamily(layers=layers, shared=(language,), image_modules=seen)


@contextmanager
def _language_given(model: Any, language: Tensor) -> Iterator[None]:
    # Inside, the embeddings return the encoded question, and the language layers are taken out.
    lxmert = model.lxmert
    layers = lxmert.encoder.layer
    handle = lxmert.embeddings.register_forward_hook(lambda module, args, output: language)
    lxmert.encoder.layer = nn.ModuleList()
    try:
        yield
    finally:
        lxmert.encoder.layer = layers
        handle.remove()
