"""Sizes of Pythia."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.common.checks import check_choice
from hf_guidance.models.shared.config_checks import check_padding_row, check_sizes
from hf_guidance.models.shared.question_adversary import check_adversary_size
from hf_guidance.models.shared.remote_code import CarriesCode
from hf_guidance.models.shared.soft_answers import ANSWER_LOSSES

_SIZES = (
    "vocab_size", "word_size", "hidden_size", "word_attention_size", "glimpses", "visual_feat_dim", "fusion_size",
    "text_branch_size", "image_branch_size",
)  # fmt: skip
_SIZES_OR_NONE = ("box_encoding_size", "grid_feat_dim")


class PythiaConfig(CarriesCode, PreTrainedConfig):  # type: ignore[misc]
    """Sizes of ``PythiaForQuestionAnswering``; the defaults are those of the Pythia that arXiv 2010.10038 (SOrT) trains.

    The answers are ``id2label``; ``num_labels`` sets only their number.

    Args:
        vocab_size: Rows of the word embedding: one per word, and one for padding and unknown words.
        word_size: Size of a word vector (GloVe's 300).
        hidden_size: Size of the LSTM's state.
        word_attention_size: Size of the hidden layer that scores words.
        glimpses: Attentions over the words; the question's encoding has ``glimpses * hidden_size`` numbers.
        visual_feat_dim: Size of a box's features.
        box_encoding_size: Size of the trained layer on the features of a box (fc7 of the detector, whose fc6 the features
            are); None for no such layer: the features are attended as they are.
        grid_feat_dim: Size of the features of a cell of the grid; None for a model of boxes alone.
        fusion_size: Size of the projections of both attentions, and of the fused layer.
        text_branch_size: Size of the first branch before the answers.
        image_branch_size: Size of the second branch.
        pad_token_id: Row of the embedding for padding and unknown words; the last one if None.
        answer_loss: "sigmoid" (binary cross-entropy against all soft scores, summed over the answers, as SOrT trains) or
            "softmax" (cross-entropy against the answer of highest score).
        question_adversary_size: Size of the hidden layer of a classifier of the question alone, which AdversarialAnswerLoss
            trains; None for no such classifier. With another loss it stays as it is drawn, and DistributedDataParallel wants
            ``ddp_find_unused_parameters=True``.
        **kwargs: What every configuration takes, such as ``num_labels`` or ``id2label``.

    Raises:
        ValueError: A size below 1, a padding row outside the embedding, an unknown loss.

    Example:
        >>> config = PythiaConfig(vocab_size=101, num_labels=28, grid_feat_dim=None)
    """

    model_type = "pythia"
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "attention", "grid_attention", "question_embedding", "box_encoding", "box_projection", "attended_grid",
        "question_logits", "question_logits_fixed",
    ]  # fmt: skip

    def __init__(
        self,
        vocab_size: int = 19902,  # the 19901 words of VQA v2's questions
        word_size: int = 300,
        hidden_size: int = 1024,
        word_attention_size: int = 512,
        glimpses: int = 2,
        visual_feat_dim: int = 2048,
        box_encoding_size: int | None = 2048,
        grid_feat_dim: int | None = 2048,
        fusion_size: int = 5000,
        text_branch_size: int = 300,
        image_branch_size: int = 5000,
        pad_token_id: int | None = None,
        answer_loss: str = "sigmoid",
        question_adversary_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.word_size = word_size
        self.hidden_size = hidden_size
        self.word_attention_size = word_attention_size
        self.glimpses = glimpses
        self.visual_feat_dim = visual_feat_dim
        self.box_encoding_size = box_encoding_size
        self.grid_feat_dim = grid_feat_dim
        self.fusion_size = fusion_size
        self.text_branch_size = text_branch_size
        self.image_branch_size = image_branch_size
        self.answer_loss = answer_loss
        self.question_adversary_size = question_adversary_size
        super().__init__(**kwargs)
        self.pad_token_id = vocab_size - 1 if pad_token_id is None else pad_token_id
        self._check()

    @property
    def question_size(self) -> int:
        """Size of the question's encoding."""
        return self.glimpses * self.hidden_size

    @property
    def box_size(self) -> int:
        """Size of a box as it is attended to."""
        return self.visual_feat_dim if self.box_encoding_size is None else self.box_encoding_size

    def _check(self) -> None:
        check_sizes(self, _SIZES, _SIZES_OR_NONE)
        check_padding_row(self)
        check_adversary_size(self.question_adversary_size, self)
        check_choice("answer_loss", self.answer_loss, ANSWER_LOSSES, self)
