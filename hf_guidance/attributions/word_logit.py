"""WordLogit: the score of one word of a caption, of one token or of several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.attributions.targets import Target
from hf_guidance.common.checks import check_choice
from hf_guidance.common.deferred_checks import defers_check
from hf_guidance.data.columns import WORD_TOKENS
from hf_guidance.forward import Forward

_TOKENS = ("first", "sum")


@dataclass(frozen=True)
class WordLogit(Target):
    """``y_(t, w_1)``, or ``sum_k y_(t + k - 1, w_k)`` over all tokens w_k of the word that is said from time t on.

    HINT explains a word of a caption by the logit of the word (arXiv 1902.03751, section 3, eq. 2), where a word is one token.
    With subwords it is several: the first one decides which word is begun, the sum is what all of them rest on.

    A logit of a later token depends on the earlier ones, which are given (teacher forcing), so the sum is that of the word as
    it stands in the caption.

    Args:
        tokens: "first" or "sum".

    Raises:
        ValueError: Another value; on call, a row without a token, a token beyond the vocabulary, or beyond the times.

    Columns:
        time: list of (rows,) whole numbers, the time of the first token of each row's word.
        word_tokens: (rows, tokens) int64 in [0, vocabulary), -1 behind the last token of a word.
    """

    tokens: str = "first"

    def __post_init__(self) -> None:
        check_choice("tokens", self.tokens, _TOKENS, self)

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One-hot of the first token, at its time: (rows, vocabulary)."""
        return F.one_hot(self._checked(forward, logits.shape[-1])[:, 0], logits.shape[-1]).to(logits.dtype)

    def of_rows(self, logits: Tensor, forward: Forward) -> Tensor:
        """The scores of the words, (copies, images, times, vocabulary) to (copies, rows)."""
        forward.check_times(logits)
        words = self._checked(forward, logits.shape[-1]).to(logits.device)
        words = words[:, :1] if self.tokens == "first" else words
        row, time = forward.rows_and_times()
        times = time[:, None] + torch.arange(words.shape[1], device=words.device)
        real = words >= 0
        _refuse(
            real & (times >= logits.shape[2]),
            f"a word of column {WORD_TOKENS!r} goes on behind the last of {logits.shape[2]} times; leave out words that are "
            "cut, as CaptionCollator does.",
        )
        times, tokens = times.clamp_max(logits.shape[2] - 1), words.clamp_min(0)
        return logits[:, row[:, None], times, tokens].masked_fill(~real, 0.0).sum(-1)

    def _checked(self, forward: Forward, vocabulary: int) -> Tensor:
        words: Tensor = forward.column(WORD_TOKENS)
        shape = (
            f"column {WORD_TOKENS!r} of shape {tuple(words.shape)} must be (rows, tokens) for {len(forward.row)} explained "
            "rows, with at least one token each."
        )
        if words.dim() != 2 or len(words) != len(forward.row):
            raise ValueError(shape)
        _refuse(words[:, 0] < 0, shape)
        wrong, why = words >= vocabulary, f"and the model knows {vocabulary}; the tokenizer is that of another model."
        if defers_check(wrong, f"column {WORD_TOKENS!r} holds a larger token, {why}"):
            # Indexing by wrong ones would fail before anyone is told.
            return torch.cat([words[:, :1].clamp_min(0), words[:, 1:]], 1).masked_fill(wrong, 0)
        if bool(wrong.any()):
            raise ValueError(f"column {WORD_TOKENS!r} holds token {int(words.max())}, {why}")
        return words


def _refuse(wrong: Tensor, message: str) -> None:
    """Raise where something is wrong; behind the graph, if the step is recorded as one."""
    if not defers_check(wrong, message) and bool(wrong.any()):
        raise ValueError(message)
