"""An LSTM over the words of a question, and padding put behind them, where it does not reach them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class QuestionLSTM(nn.LSTM):
    """One LSTM layer, (batch, length, words) -> the states (batch, length, hidden)."""

    def __init__(self, word_size: int, hidden_size: int) -> None:
        super().__init__(word_size, hidden_size, batch_first=True)

    def train(self, mode: bool = True) -> QuestionLSTM:
        """Stay in training mode: only there cuDNN keeps what a backward needs, and without dropout the values are equal."""
        super().train(True)
        return self


def words_first(words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Put the words of each question before its padding, in their order.

    An LSTM then starts at the first word, and what comes after the last one does not reach it.

    Args:
        words: (batch, length, word_size).
        mask: (batch, length), 0 = padding.

    Returns:
        The words, and where they are not padding, (batch, length) bool.

    Raises:
        ValueError: The mask has another shape.
    """
    if mask.shape != words.shape[:2]:
        raise ValueError(
            f"attention_mask of shape {tuple(mask.shape)} does not fit input_ids of shape {tuple(words.shape[:2])}; "
            "(batch, length) is needed, 0 = padding."
        )
    real = mask != 0
    order = real.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return words.gather(1, order[..., None].expand_as(words)), real.gather(1, order)
