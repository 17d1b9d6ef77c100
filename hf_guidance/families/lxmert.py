"""LXMERT for question answering of transformers, of any answer head size (``config.num_qa_labels``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hf_guidance.families.family import FullCall, repeated
from hf_guidance.families.region_family import RegionFamily
from hf_guidance.families.stages import spread

MODEL_TYPES = ("lxmert",)


@dataclass(frozen=True)
class LxmertFamily(RegionFamily):
    """Views take the encoded question from the full input: the language layers run once a step.

    The relational layers mix boxes from the first on, so boxes are encoded anew in every view.
    """

    logits: str = "question_answering_score"

    def call(self, model: nn.Module, inputs: Mapping[str, Any], copies: Tensor, full: FullCall) -> Any:
        """Run on edited copies without the language layers."""
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
        """LXMERT puts out its attention when asked to."""
        return {"output_attentions": True}


def build(model: Any) -> LxmertFamily:
    """Layers are what encodes the boxes: their embedding, relational layers, and cross-modality layers but the last.

    Only the first token of the question reaches the head, so the boxes behind the last layer have no gradient.

    Note:
        The features go through a Linear and then a LayerNorm, which is blind to their scale: InputXGradient at the input
        is small (zero without the Linear's bias). Gradient and the perturbation methods are not concerned.
    """
    encoder = model.lxmert.encoder
    relational = [f"lxmert.encoder.r_layers.{i}.output" for i in range(len(encoder.r_layers))]
    crossed = [f"lxmert.encoder.x_layers.{i}.visn_output" for i in range(len(encoder.x_layers) - 1)]
    language = f"lxmert.encoder.layer.{len(encoder.layer) - 1}" if len(encoder.layer) else "lxmert.embeddings"
    return LxmertFamily(layers=spread(["lxmert.encoder.visn_fc", *relational, *crossed]), shared=(language,))


@contextmanager
def _language_given(model: Any, language: Tensor) -> Iterator[None]:
    # The embeddings hand on the encoded question, and there are no language layers to run.
    lxmert = model.lxmert
    layers = lxmert.encoder.layer
    handle = lxmert.embeddings.register_forward_hook(lambda module, args, output: language)
    lxmert.encoder.layer = nn.ModuleList()
    try:
        yield
    finally:
        lxmert.encoder.layer = layers
        handle.remove()
