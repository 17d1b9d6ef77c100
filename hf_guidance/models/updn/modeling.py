"""UpDn: bottom-up and top-down attention over the features of boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hf_guidance.models.shared.box_attention import attended, gated_dots, masked_softmax
from hf_guidance.models.shared.edited_boxes import (
    check_features,
    check_keep,
    check_projection,
    choose,
    fill_of,
    repeat_rows,
    rows_of,
)
from hf_guidance.models.shared.normed_linear import NormedLinear
from hf_guidance.models.shared.product import Product
from hf_guidance.models.shared.question_adversary import adversary_of, answers_alone
from hf_guidance.models.shared.soft_answers import soft_answer_loss
from hf_guidance.models.shared.words import draw_words, word_vectors
from hf_guidance.models.updn.configuration import UpDnConfig


@dataclass
class UpDnOutput(ModelOutput):  # type: ignore[misc]
    """What ``UpDnForQuestionAnswering`` returns.

    Attributes:
        loss: Mean loss over the questions, if ``labels`` were given.
        logits: (rows, classes).
        attention: (rows, objects), sums to 1 over the boxes that are not padding; all 0 if every box is padding.
        question_embedding: (batch, hidden), which can be passed in again with other boxes for the same questions.
        box_projection: (batch, objects, hidden) of ``visual_feats`` as given, which can be passed in again with ``keep``.
        question_logits: (questions, classes) of the adversary, with a gradient to its classifier alone; None without
            ``config.question_adversary_size``, and where ``question_embedding`` is given.
        question_logits_fixed: The same numbers, with a gradient to the question's encoding alone.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    attention: Tensor | None = None
    question_embedding: Tensor | None = None
    box_projection: Tensor | None = None
    question_logits: Tensor | None = None
    question_logits_fixed: Tensor | None = None


class QuestionEncoder(nn.GRU):
    """One GRU layer, (batch, length, words) -> (batch, hidden): the last state."""

    def __init__(self, word_size: int, hidden_size: int) -> None:
        super().__init__(word_size, hidden_size, batch_first=True)

    def train(self, mode: bool = True) -> QuestionEncoder:
        """Stay in training mode: only there cuDNN keeps what a backward needs, and without dropout the values are equal."""
        super().train(True)
        return self

    def encode(self, words: Tensor) -> Tensor:
        """Return the last state."""
        return self(words)[1][0]  # type: ignore[no-any-return]


class UpDnForQuestionAnswering(PreTrainedModel):  # type: ignore[misc]
    """UpDn in the form that arXiv 2206.11212 trains ("updn_ramen" of its code).

    With q the last state of a GRU over the words, x_k the features of box k, and every linear layer weight-normalised
    by one scalar:

    ``p_k = relu(W_p x_k)``, ``a = softmax_k(w . dropout(p_k * relu(W_q q)))``, ``v = sum_k a_k x_k``,
    ``J = relu(W_gq q) * relu(W_gv v)``, ``logits = W_2 dropout(relu(W_1 J))``. J is the layer "fusion".

    Questions are padded on the left, and the padding's word vector takes part in the GRU, as in the authors' code.

    Note:
        Only the GRU's matrices get the authors' Kaiming initialisation; in their code it has no effect on
        weight-normalised layers. Unlike their model, this one accepts a batch of one.

    References:
        Anderson et al., arXiv 1707.07998; Ying et al., arXiv 2206.11212.

    Example:
        >>> model = UpDnForQuestionAnswering(UpDnConfig(vocab_size=len(tokenizer), num_labels=28))
        >>> model(input_ids, visual_feats, labels=labels).loss.backward()
    """

    config_class = UpDnConfig
    base_model_prefix = "updn"
    main_input_name = "visual_feats"

    def __init__(self, config: UpDnConfig) -> None:
        super().__init__(config)
        hidden, dims = config.hidden_size, config.visual_feat_dim
        self.words = nn.Embedding(config.vocab_size, config.word_size, padding_idx=config.pad_token_id)
        self.question_encoder = QuestionEncoder(config.word_size, hidden)
        self.box_projection = NormedLinear(dims, hidden)
        self.question_projection = NormedLinear(hidden, hidden)
        self.attention_score = NormedLinear(hidden, 1)
        self.question_gate = NormedLinear(hidden, hidden)
        self.box_gate = NormedLinear(dims, hidden)
        self.fusion = Product()
        self.classifier = nn.Sequential(
            NormedLinear(hidden, config.classifier_size),
            nn.ReLU(),
            nn.Dropout(config.classifier_dropout),
            NormedLinear(config.classifier_size, config.num_labels),
        )
        self.question_adversary = adversary_of(hidden, config.question_adversary_size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, NormedLinear | nn.Linear):
            module.reset_parameters()
        elif isinstance(module, nn.GRU):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.kaiming_normal_(parameter, a=0.01)
                else:
                    bound = module.hidden_size**-0.5
                    nn.init.uniform_(parameter, -bound, bound)
        elif isinstance(module, nn.Embedding):
            draw_words(module)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embedding."""
        return self.words

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embedding."""
        self.words = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        question_embedding: Tensor | None = None,
        box_projection: Tensor | None = None,
        keep: Tensor | None = None,
        fill: Tensor | float | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Answer questions from boxes.

        With ``keep`` the model behaves as if boxes with keep False held ``fill``; values and gradients are those of the
        edited copies, but the boxes are projected once and the copies are never made. In training, all copies of one
        question share one draw of the attention dropout. With ``keep``, ``rows`` is copies * batch, copy by copy;
        otherwise it is batch. There may be several questions about each image, copies * batch of them, copy by copy
        (question i is about image ``i % batch``); ``rows`` is then their number, and boxes are still projected once.

        Args:
            input_ids: (batch or rows, length) int64; not read if ``question_embedding`` is given.
            visual_feats: (batch, objects, dims) float.
            visual_pos: Ignored: UpDn does not look at the places of boxes.
            attention_mask: Ignored: padding on the left takes part.
            visual_attention_mask: (batch or rows, objects), 0 = padding.
            labels: (batch or rows, classes) soft scores in [0, 1], or (batch or rows,) int64 classes.
            question_embedding: (batch or rows, hidden) of an earlier call; without ``keep``, batch may be a multiple of its
                length, too.
            box_projection: (batch, objects, hidden) of an earlier call with the same ``visual_feats``.
            keep: (rows, objects) bool.
            fill: What the other boxes hold: a number, or a tensor that broadcasts against ``visual_feats`` or against
                (rows, objects, dims).
            return_dict: False gives a tuple.

        Returns:
            UpDnOutput.

        Raises:
            ValueError: Question or boxes missing, or shapes that do not fit.
        """
        features = check_features(visual_feats, self.config.visual_feat_dim)
        check_keep(keep, fill, features)
        question = self._encoded(input_ids) if question_embedding is None else question_embedding
        projected = self.project(features) if box_projection is None else box_projection
        check_projection(projected, features)
        rows = rows_of(features, question, keep)
        filled = None if fill is None else fill_of(fill, features, rows)
        scores = self._scores(projected, question, keep, filled)
        attention = masked_softmax(repeat_rows(scores, rows), visual_attention_mask)
        gate = functional.relu(self.question_gate(question))
        seen = functional.relu(self.box_gate(attended(attention, features, keep, filled)))
        logits = self.classifier(self.fusion(repeat_rows(gate, rows), seen))
        loss = None if labels is None else self._loss(logits, labels)
        alone = answers_alone(self.question_adversary, question, question_embedding)
        output = UpDnOutput(loss, logits, attention, question, projected, *alone)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def project(self, features: Tensor) -> Tensor:
        """Project boxes for the attention: ``relu(W_p x)``, (..., dims) -> (..., hidden)."""
        return functional.relu(self.box_projection(features))

    def _encoded(self, input_ids: Tensor | None) -> Tensor:
        return self.question_encoder.encode(word_vectors(self.words, input_ids, "UpDnConfig"))

    def _scores(self, projected: Tensor, question: Tensor, keep: Tensor | None, filled: Tensor | None) -> Tensor:
        # w . (p * g) = p . (w * g): the question and the weights are multiplied once, not once per box.
        gate = functional.relu(self.question_projection(question)) * self.attention_score.weight
        rate = self.config.attention_dropout if self.training else 0.0
        # One draw for all copies of a question: they differ by the edit alone, and no copies of the mask are made.
        drop = functional.dropout(torch.ones_like(projected), rate) if rate else None
        scores = gated_dots(projected, gate, drop)
        if keep is not None and filled is not None:
            # The fill is projected before it is broadcast: a constant is projected once.
            other = self.project(filled.expand(*filled.shape[:2], self.config.visual_feat_dim))
            scores = choose(keep, scores, gated_dots(other, gate, drop), len(projected))
        return scores + self.attention_score.bias

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return soft_answer_loss(logits, repeat_rows(labels, len(logits)), self.config.answer_loss)
