"""A question read by an LSTM whose states are attended to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_guidance.models.shared.question_lstm import QuestionLSTM, words_first


class TextAttention(nn.Module):
    """``q = [sum_t a_1t h_t, ..., sum_t a_Gt h_t]``, ``a_g = softmax_t(w_g . relu(W h_t + b) + b_g)``, h the LSTM's states.

    Padding is left out, on whichever side it is: q is that of the words alone. A question of padding alone gives 0.

    Args:
        word_size: Size of a word vector.
        hidden_size: Size of h.
        attention_size: Size of the hidden layer that scores words.
        glimpses: G.
    """

    def __init__(self, word_size: int, hidden_size: int, attention_size: int, glimpses: int) -> None:
        super().__init__()
        self.lstm = QuestionLSTM(word_size, hidden_size)
        self.hidden = nn.Linear(hidden_size, attention_size)
        self.score = nn.Linear(attention_size, glimpses)

    def forward(self, words: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode questions.

        Args:
            words: (batch, length, word_size).
            mask: (batch, length), 0 = padding; None if there is none.

        Returns:
            (batch, glimpses * hidden_size).

        Raises:
            ValueError: The mask has another shape.
        """
        real = None
        if mask is not None:
            words, real = words_first(words, mask)
        states = self.lstm(words)[0]
        scores = self.score(functional.relu(self.hidden(states))).transpose(1, 2)
        if real is None:
            return torch.bmm(scores.softmax(-1), states).flatten(1)
        padding = ~real[:, None]
        # The lowest number, not -inf, which would make nan of a question of padding alone.
        attention = scores.masked_fill(padding, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(padding, 0.0)
        return torch.bmm(attention, states).flatten(1)
