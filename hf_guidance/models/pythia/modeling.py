"""Pythia: a question attends to its words, to boxes and to a grid, and is fused with what it sees by a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hf_guidance.models.pythia.configuration import PythiaConfig
from hf_guidance.models.pythia.product_attention import ProductAttention
from hf_guidance.models.pythia.text_attention import TextAttention
from hf_guidance.models.shared.box_attention import attended, masked_softmax
from hf_guidance.models.shared.edited_boxes import (
    check_features,
    check_keep,
    check_projection,
    fill_of,
    repeat_rows,
    rows_of,
)
from hf_guidance.models.shared.normed_linear import NormedLinear
from hf_guidance.models.shared.product import ProductFusion
from hf_guidance.models.shared.question_adversary import adversary_of, answers_alone
from hf_guidance.models.shared.soft_answers import soft_answer_loss
from hf_guidance.models.shared.words import draw_words, word_vectors


@dataclass
class PythiaOutput(ModelOutput):  # type: ignore[misc]
    """What ``PythiaForQuestionAnswering`` returns.

    Attributes:
        loss: Mean loss over the questions, if ``labels`` were given.
        logits: (rows, classes).
        attention: (rows, objects), sums to 1 over the boxes that are not padding; all 0 if every box is padding.
        grid_attention: (questions, cells), sums to 1; None without a grid, or with ``attended_grid`` given.
        question_embedding: (questions, ``config.question_size``), which can be passed in again with other boxes.
        attended_grid: (questions, ``config.grid_feat_dim``), likewise; None without a grid.
        box_encoding: (images, objects, ``config.box_size``) of ``visual_feats`` as given, which can be passed in again with
            ``keep``.
        box_projection: (images, objects, ``config.fusion_size``), likewise.
        question_logits: (questions, classes) of the adversary, with a gradient to its classifier alone; None without
            ``config.question_adversary_size``, and where ``question_embedding`` is given.
        question_logits_fixed: The same numbers, with a gradient to the question's encoding alone.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    attention: Tensor | None = None
    grid_attention: Tensor | None = None
    question_embedding: Tensor | None = None
    attended_grid: Tensor | None = None
    box_encoding: Tensor | None = None
    box_projection: Tensor | None = None
    question_logits: Tensor | None = None
    question_logits_fixed: Tensor | None = None


class PythiaForQuestionAnswering(PreTrainedModel):  # type: ignore[misc]
    """Pythia in the form that SOrT (arXiv 2010.10038) trains.

    With q the attended words of the question (``TextAttention``), x_k the features of box k, g_j those of cell j of a grid,
    and N, M weight-normalised layers with one scalar each:

    ``e_k = relu(W_e x_k + b_e)``, ``a = softmax_k(w . (relu(N_e e_k) * relu(N_q q)))``, ``v = sum_k a_k e_k``, likewise
    ``u = sum_j c_j g_j`` with layers of its own, ``J = relu(M_v [v, u]) * relu(M_q q)``, and
    ``logits = W_1 relu(N_1 J) + b_1 + W_2 relu(N_2 J) + b_2``.

    J is the layer "fusion", at which SOrT compares questions, and g the layer "grid". There is no dropout. Padding, of
    words and of boxes, takes no part. Several questions about each image cost its encoding and projection once: give
    ``input_ids`` of copies * images rows, copy by copy: question i is about image ``i % images``.

    Note:
        The authors' code lets the padding of questions take part; this one does so without ``attention_mask``. It adds 1e-8
        to the sum by which it divides the attention over boxes; here the attention sums to 1. SOrT trains the layer on the
        boxes' features at a tenth of the learning rate.

    References:
        Jiang et al., arXiv 1807.09956; Dharur et al., arXiv 2010.10038.

    Example:
        >>> config = PythiaConfig(vocab_size=len(tokenizer), num_labels=28, grid_feat_dim=None)
        >>> model = PythiaForQuestionAnswering(config)
        >>> model(input_ids, visual_feats, labels=labels).loss.backward()
    """

    config_class = PythiaConfig
    base_model_prefix = "pythia"
    main_input_name = "visual_feats"

    def __init__(self, config: PythiaConfig) -> None:
        super().__init__(config)
        question, size, grid = config.question_size, config.fusion_size, config.grid_feat_dim
        self.words = nn.Embedding(config.vocab_size, config.word_size, padding_idx=config.pad_token_id)
        self.text_attention = TextAttention(
            config.word_size, config.hidden_size, config.word_attention_size, config.glimpses
        )
        self.box_encoder: nn.Module = nn.Identity()
        if config.box_encoding_size is not None:
            self.box_encoder = nn.Sequential(nn.Linear(config.visual_feat_dim, config.box_encoding_size), nn.ReLU())
        self.box_attention = ProductAttention(config.box_size, question, size)
        self.grid = None if grid is None else nn.Identity()  # a module, so that cells can be explained
        self.grid_attention = None if grid is None else ProductAttention(grid, question, size)
        self.fusion = ProductFusion(config.box_size + (grid or 0), question, size)
        self.text_branch = _branch(size, config.text_branch_size, config.num_labels)
        self.image_branch = _branch(size, config.image_branch_size, config.num_labels)
        self.question_adversary = adversary_of(question, config.question_adversary_size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, NormedLinear | nn.Linear | nn.LSTM):
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
        grid_feats: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        question_embedding: Tensor | None = None,
        attended_grid: Tensor | None = None,
        box_encoding: Tensor | None = None,
        box_projection: Tensor | None = None,
        keep: Tensor | None = None,
        fill: Tensor | float | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Answer questions from boxes, and from a grid if the model has one.

        ``rows`` is the number of questions or of images, whichever is more, with ``keep`` copies * images; copy by copy. With
        ``keep`` the model behaves as if boxes with keep False held ``fill``, but boxes are encoded once and not copied.

        Args:
            input_ids: (questions, length) int64; not read if ``question_embedding`` is given.
            visual_feats: (images, objects, dims) float.
            visual_pos: Ignored: Pythia does not look at the places of boxes.
            attention_mask: (questions, length), 0 = padding; None if no word is padding.
            visual_attention_mask: (images or rows, objects), 0 = padding.
            grid_feats: (images, cells, dims) float, for a model with ``config.grid_feat_dim``; edits leave it as it is.
            labels: (rows, classes) soft scores in [0, 1], or (rows,) int64 classes; or those of one copy.
            question_embedding: Of an earlier call.
            attended_grid: Of an earlier call with the same questions and grid.
            box_encoding: Of an earlier call with the same ``visual_feats``.
            box_projection: Likewise.
            keep: (rows, objects) bool.
            fill: What the other boxes hold: a number, or what broadcasts against ``visual_feats`` or (rows, objects, dims).
            return_dict: False gives a tuple of what is not None.

        Returns:
            PythiaOutput, or a tuple.

        Raises:
            ValueError: Question, boxes or grid missing, a grid for a model without one, or shapes that do not fit.
        """
        features = check_features(visual_feats, self.config.visual_feat_dim)
        check_keep(keep, fill, features)
        question = self._question(input_ids, attention_mask) if question_embedding is None else question_embedding
        rows = rows_of(features, question, keep)
        encoded, projected = self._boxes(features, box_encoding, box_projection)
        other = None if fill is None else self._filled(fill_of(fill, features, rows))
        scores = self.box_attention(projected, question, keep, self._projected(other))
        attention = masked_softmax(repeat_rows(scores, rows), visual_attention_mask)
        seen = attended(attention, encoded, keep, other)
        grid, grid_attention = self._grid(grid_feats, attended_grid, features, question)
        logits = self._answers(seen, grid, question)
        loss = None if labels is None else self._loss(logits, labels)
        alone = answers_alone(self.question_adversary, question, question_embedding)
        output = PythiaOutput(loss, logits, attention, grid_attention, question, grid, encoded, projected, *alone)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _question(self, input_ids: Tensor | None, mask: Tensor | None) -> Tensor:
        encoded: Tensor = self.text_attention(word_vectors(self.words, input_ids, "PythiaConfig"), mask)
        return encoded

    def _answers(self, seen: Tensor, grid: Tensor | None, question: Tensor) -> Tensor:
        image = seen if grid is None else torch.cat([seen, repeat_rows(grid, len(seen))], -1)
        joint = self.fusion(image, question)
        logits: Tensor = self.text_branch(joint) + self.image_branch(joint)
        return logits

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return soft_answer_loss(logits, repeat_rows(labels, len(logits)), self.config.answer_loss)

    def _boxes(self, features: Tensor, encoding: Tensor | None, projection: Tensor | None) -> tuple[Tensor, Tensor]:
        """The encoding and the projection of the boxes, each as given by an earlier call, or made."""
        encoded = self.box_encoder(features) if encoding is None else encoding
        check_projection(encoded, features, "box_encoding")
        projected = self.box_attention.project(encoded) if projection is None else projection
        check_projection(projected, features)
        return encoded, projected

    def _filled(self, filled: Tensor) -> Tensor:
        # Encoded before it is broadcast: a constant is encoded once.
        encoded: Tensor = self.box_encoder(filled.expand(*filled.shape[:2], self.config.visual_feat_dim))
        return encoded

    def _projected(self, encoded: Tensor | None) -> Tensor | None:
        return None if encoded is None else self.box_attention.project(encoded)

    def _grid(
        self, grid: Tensor | None, known: Tensor | None, features: Tensor, question: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """What the question sees of the grid, (questions, dims), and its attention, (questions, cells)."""
        if known is not None:
            return known, None
        if self.grid is None or self.grid_attention is None:
            if grid is not None:
                raise ValueError(
                    "grid_feats are given, but this model has no grid; build it with PythiaConfig(grid_feat_dim="
                    f"{grid.shape[-1]}), or leave them out."
                )
            return None, None
        if grid is None:
            raise ValueError(
                f"grid_feats are missing; give (batch, cells, {self.config.grid_feat_dim}), or build the model with "
                "PythiaConfig(grid_feat_dim=None) for boxes alone."
            )
        check_features(grid, self.config.grid_feat_dim, "grid_feats", "grid_feat_dim")
        if len(grid) != len(features):
            raise ValueError(
                f"grid_feats are of {len(grid)} images, visual_feats of {len(features)}; give both of the same."
            )
        cells = self.grid(grid)
        attention = self.grid_attention(self.grid_attention.project(cells), question).softmax(-1)
        return attended(attention, cells, None, None), attention


def _branch(inputs: int, size: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(NormedLinear(inputs, size), nn.ReLU(), nn.Linear(size, outputs))
