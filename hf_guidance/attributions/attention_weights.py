"""AttentionWeights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.attribution import Attribution
from hf_guidance.forward import Forward
from hf_guidance.views.layers import ATTENTION, is_attention


@dataclass(frozen=True)
class AttentionWeights(Attribution):
    """``A = attention``: the model's own attention over its boxes, which is one of its outputs.

    UpDn has one attention; of LXMERT it is that of the first token in the last layer, averaged over heads. No
    derivative is taken, so guidance by it costs a plain step. The target is not read.

    Raises:
        ValueError: ``layer`` is not "attention"; on use, when the model has no attention over its features.

    Columns:
        none beside the model's inputs

    When to use:
        Models over boxes with their own attention, UpDn and LXMERT: the cheapest method, without a forward or a
        backward of its own. On shapes_vqa attention does not follow occlusion and the gradient times the features does
        (docs/questions.md), so prefer InputXGradient where the map must tell what the answer depends on.

    Reference:
        Anderson et al., "Bottom-Up and Top-Down Attention for Image Captioning and Visual Question Answering", CVPR
        2018, arXiv 1707.07998. As attribution: Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision
        with Right-for-the-Right-Reason Objectives", NeurIPS 2022, arXiv 2206.11212, app. A.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, explain_answer
        >>> from hf_guidance.attributions import AttentionWeights
        >>> from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
        >>> from hf_guidance.objectives import Alignment, AnswerLoss
        >>> guidance = Guidance(task=AnswerLoss(), align=Alignment(AttentionWeights()))
        >>> question, features, boxes = "what is it", torch.rand(2, 8), [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
        >>> tokenizer = word_tokenizer([question])
        >>> model = UpDnForQuestionAnswering(UpDnConfig(len(tokenizer), visual_feat_dim=8, num_labels=3))
        >>> explain_answer(model, question, features, boxes, tokenizer, attribution=AttentionWeights()).box_scores.shape
        (2,)
    """

    layer: str = ATTENTION

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_attention(self.layer):
            raise ValueError(
                f"AttentionWeights(layer={self.layer!r}): the layer is always {ATTENTION!r}; leave it out."
            )

    def __call__(self, forward: Forward) -> Tensor:
        """Give the attention, (rows, objects)."""
        return forward.activation(self.layer)
