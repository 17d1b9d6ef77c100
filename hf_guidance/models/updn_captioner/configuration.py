"""Sizes of UpDn for captions."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.models.shared.config_checks import check_dropouts, check_sizes
from hf_guidance.models.shared.remote_code import CarriesCode

_SIZES = ("vocab_size", "word_size", "hidden_size", "attention_size", "visual_feat_dim")


class UpDnCaptionerConfig(CarriesCode, PreTrainedConfig):  # type: ignore[misc]
    """Sizes of ``UpDnForImageCaptioning``; the defaults are those of arXiv 1707.07998, section 4.1.

    Args:
        vocab_size: Rows of the word embedding and of the output: words and the special tokens, ``len(tokenizer)``.
        word_size: E, the size of a word vector.
        hidden_size: M, the size of the states of both LSTMs.
        attention_size: H, the size of the hidden layer that scores boxes.
        visual_feat_dim: V, the size of a box's features.
        dropout: On the state of the language LSTM before the output; the paper names none.
        bos_token_id: The token before the first word.
        eos_token_id: The token after the last word.
        pad_token_id: The token that fills up.
        **kwargs: What every configuration takes.

    Raises:
        ValueError: A size below 1, a dropout outside [0, 1), special tokens outside the vocabulary, or two that are one.

    Example:
        >>> config = UpDnCaptionerConfig(vocab_size=101, word_size=64, hidden_size=128, attention_size=64)
    """

    model_type = "updn_captioner"
    keys_to_ignore_at_inference = ["attention"]  # noqa: RUF012

    def __init__(
        self,
        vocab_size: int = 10010,  # words that occur at least five times in COCO's captions
        word_size: int = 1000,
        hidden_size: int = 1000,
        attention_size: int = 512,
        visual_feat_dim: int = 2048,
        dropout: float = 0.0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        pad_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.word_size = word_size
        self.hidden_size = hidden_size
        self.attention_size = attention_size
        self.visual_feat_dim = visual_feat_dim
        self.dropout = dropout
        super().__init__(**kwargs)
        self.bos_token_id, self.eos_token_id, self.pad_token_id = bos_token_id, eos_token_id, pad_token_id
        self._check()

    def _check(self) -> None:
        check_sizes(self, _SIZES)
        check_dropouts(self, ("dropout",))
        special = {name: getattr(self, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        for name, token in special.items():
            if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"UpDnCaptionerConfig({name}={token!r}) is no row of a vocabulary of {self.vocab_size}; captions begin "
                    "and end with tokens of their own: give those of the tokenizer."
                )
        if len(set(special.values())) < len(special):
            raise ValueError(f"UpDnCaptionerConfig({special}): two of the special tokens are one; give each its own.")
