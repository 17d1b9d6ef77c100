"""A stacked attention network: a question looks at boxes, and looks again with what it has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hf_guidance.models.san.attention_hop import AttentionHop
from hf_guidance.models.san.configuration import SANConfig
from hf_guidance.models.shared.box_attention import attended, masked_softmax
from hf_guidance.models.shared.edited_boxes import (
    check_features,
    check_keep,
    check_projection,
    fill_of,
    repeat_rows,
    rows_of,
)
from hf_guidance.models.shared.question_adversary import adversary_of, answers_alone
from hf_guidance.models.shared.question_lstm import QuestionLSTM, words_first
from hf_guidance.models.shared.soft_answers import soft_answer_loss
from hf_guidance.models.shared.words import draw_words, word_vectors


@dataclass
class SANOutput(ModelOutput):  # type: ignore[misc]
    """What ``SANForQuestionAnswering`` returns.

    Attributes:
        loss: Mean loss over the questions, if ``labels`` were given.
        logits: (rows, classes).
        attention: (rows, objects) of the last hop, sums to 1 over the boxes that are not padding; all 0 if every box is
            padding.
        question_embedding: (questions, hidden), which can be passed in again with other boxes.
        box_projection: (images, objects, hidden) of ``visual_feats`` as given, which can be passed in again with ``keep``.
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


class SANForQuestionAnswering(PreTrainedModel):  # type: ignore[misc]
    """A stacked attention network (arXiv 1511.02274) with an LSTM as question model, over boxes.

    With q the LSTM's state after the last word and x_k the features of box k:

    ``v_k = tanh(W_I x_k + b_I)``, ``u_0 = q``, and for each hop j with layers of its own
    ``p_j = softmax_k(w_P . tanh(W_IA v_k + W_QA u_(j-1) + b_A) + b_P)``, ``u_j = sum_k p_jk v_k + u_(j-1)``;
    ``logits = W dropout(u_J) + b``. u_J, J the last hop, is the layer "fusion".

    Padding, of words and of boxes, takes no part. A question of padding alone has q = 0, and where every box is padding
    ``u_J = q``. Several questions about each image cost its projection once: give ``input_ids`` of copies * images rows, copy
    by copy: question i is about image ``i % images``.

    Note:
        The paper attends to the 196 cells of a VGG's last pooling; here they are boxes. Its second question model, a CNN, is
        not built. Unlike UpDn and Pythia, whose scores are products, each query needs a tanh of its own for every box: from
        the second hop on, ``keep`` costs memory for copies * images * objects * ``config.attention_size`` numbers.

    References:
        Yang, He, Gao, Deng and Smola, "Stacked Attention Networks for Image Question Answering", CVPR 2016, arXiv 1511.02274.

    Example:
        >>> model = SANForQuestionAnswering(SANConfig(vocab_size=len(tokenizer), num_labels=28))
        >>> model(input_ids, visual_feats, labels=labels).loss.backward()
    """

    config_class = SANConfig
    base_model_prefix = "san"
    main_input_name = "visual_feats"

    def __init__(self, config: SANConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, config.word_size, padding_idx=config.pad_token_id)
        self.question_encoder = QuestionLSTM(config.word_size, size)
        self.box_projection = nn.Sequential(nn.Linear(config.visual_feat_dim, size), nn.Tanh())
        self.hops = nn.ModuleList(AttentionHop(size, config.attention_size) for _ in range(config.hops))
        self.fusion = nn.Identity()  # a module, so that the last query is a layer that can be explained
        self.classifier = nn.Sequential(nn.Dropout(config.classifier_dropout), nn.Linear(size, config.num_labels))
        self.question_adversary = adversary_of(size, config.question_adversary_size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.LSTM):
            module.reset_parameters()
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

        ``rows`` is the number of questions or of images, whichever is more, with ``keep`` copies * images; copy by copy. With
        ``keep`` the model behaves as if boxes with keep False held ``fill``, but boxes are projected once and not copied.

        Args:
            input_ids: (questions, length) int64; not read if ``question_embedding`` is given.
            visual_feats: (images, objects, dims) float.
            visual_pos: Ignored: the network does not look at the places of boxes.
            attention_mask: (questions, length), 0 = padding; None if no word is padding.
            visual_attention_mask: (images or rows, objects), 0 = padding.
            labels: (rows, classes) soft scores in [0, 1], or (rows,) int64 classes; or those of one copy.
            question_embedding: Of an earlier call.
            box_projection: Of an earlier call with the same ``visual_feats``.
            keep: (rows, objects) bool.
            fill: What the other boxes hold: a number, or what broadcasts against ``visual_feats`` or (rows, objects, dims).
            return_dict: False gives a tuple of what is not None.

        Returns:
            SANOutput, or a tuple.

        Raises:
            ValueError: Question or boxes missing, or shapes that do not fit.
        """
        features = check_features(visual_feats, self.config.visual_feat_dim)
        check_keep(keep, fill, features)
        question = self._question(input_ids, attention_mask) if question_embedding is None else question_embedding
        rows = rows_of(features, question, keep)
        projected = self.box_projection(features) if box_projection is None else box_projection
        check_projection(projected, features)
        other = None if fill is None else self._filled(fill_of(fill, features, rows))
        query = question
        for hop in self.hops:
            scores = hop(projected, query, keep, other)
            attention = masked_softmax(repeat_rows(scores, rows), visual_attention_mask)
            query = attended(attention, projected, keep, other) + repeat_rows(query, rows)
        logits = self.classifier(self.fusion(query))
        loss = None if labels is None else self._loss(logits, labels)
        alone = answers_alone(self.question_adversary, question, question_embedding)
        output = SANOutput(loss, logits, attention, question, projected, *alone)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _question(self, input_ids: Tensor | None, mask: Tensor | None) -> Tensor:
        words = word_vectors(self.words, input_ids, "SANConfig")
        if mask is None:
            states: Tensor = self.question_encoder(words)[0]
            return states[:, -1]
        words, real = words_first(words, mask)
        states, lengths = self.question_encoder(words)[0], real.sum(1)
        last = (lengths - 1).clamp_min(0)[:, None, None].expand(-1, 1, states.shape[-1])
        return states.gather(1, last)[:, 0].masked_fill((lengths == 0)[:, None], 0.0)

    def _filled(self, filled: Tensor) -> Tensor:
        # Projected before it is broadcast: a constant is projected once.
        projected: Tensor = self.box_projection(filled.expand(*filled.shape[:2], self.config.visual_feat_dim))
        return projected

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return soft_answer_loss(logits, repeat_rows(labels, len(logits)), self.config.answer_loss)
