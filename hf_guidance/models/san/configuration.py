"""Sizes of a stacked attention network."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.common.checks import check_choice
from hf_guidance.models.shared.config_checks import check_dropouts, check_padding_row, check_sizes
from hf_guidance.models.shared.question_adversary import check_adversary_size
from hf_guidance.models.shared.remote_code import CarriesCode
from hf_guidance.models.shared.soft_answers import ANSWER_LOSSES

_SIZES = ("vocab_size", "word_size", "hidden_size", "attention_size", "hops", "visual_feat_dim")


class SANConfig(CarriesCode, PreTrainedConfig):  # type: ignore[misc]
    """Sizes of ``SANForQuestionAnswering``.

    ``hops`` is the paper's; the other sizes are usual ones, and were not compared with its text. The answers are
    ``id2label``; ``num_labels`` sets only their number.

    Args:
        vocab_size: Rows of the word embedding: one per word, and one for padding and unknown words.
        word_size: Size of a word vector (GloVe's 300).
        hidden_size: Size of the LSTM's state, of a projected box and of the query.
        attention_size: Size of the hidden layer that scores boxes.
        hops: Attentions, one after another.
        visual_feat_dim: Size of a box's features.
        classifier_dropout: Dropout before the answers, in [0, 1).
        pad_token_id: Row of the embedding for padding and unknown words; the last one if None.
        answer_loss: "softmax" (cross-entropy against the answer of highest score, as the paper trains) or "sigmoid" (binary
            cross-entropy against all soft scores, summed over the answers).
        question_adversary_size: Size of the hidden layer of a classifier of the question alone, which AdversarialAnswerLoss
            trains; None for no such classifier. With another loss it stays as it is drawn, and DistributedDataParallel wants
            ``ddp_find_unused_parameters=True``.
        **kwargs: What every configuration takes, such as ``num_labels`` or ``id2label``.

    Raises:
        ValueError: A size below 1, a dropout outside [0, 1), a padding row outside the embedding, an unknown loss.

    Example:
        >>> config = SANConfig(vocab_size=101, num_labels=28)
    """

    model_type = "san"
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "attention", "question_embedding", "box_projection", "question_logits", "question_logits_fixed",
    ]  # fmt: skip

    def __init__(
        self,
        vocab_size: int = 19902,  # the 19901 words of VQA v2's questions
        word_size: int = 300,
        hidden_size: int = 1024,
        attention_size: int = 512,
        hops: int = 2,
        visual_feat_dim: int = 2048,
        classifier_dropout: float = 0.5,
        pad_token_id: int | None = None,
        answer_loss: str = "softmax",
        question_adversary_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.word_size = word_size
        self.hidden_size = hidden_size
        self.attention_size = attention_size
        self.hops = hops
        self.visual_feat_dim = visual_feat_dim
        self.classifier_dropout = classifier_dropout
        self.answer_loss = answer_loss
        self.question_adversary_size = question_adversary_size
        super().__init__(**kwargs)
        self.pad_token_id = vocab_size - 1 if pad_token_id is None else pad_token_id
        self._check()

    def _check(self) -> None:
        check_sizes(self, _SIZES)
        check_dropouts(self, ("classifier_dropout",))
        check_padding_row(self)
        check_adversary_size(self.question_adversary_size, self)
        check_choice("answer_loss", self.answer_loss, ANSWER_LOSSES, self)
