"""CaptionLoss: the task of a model that says a caption word by word."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.common.deferred_checks import defers_check
from hf_guidance.data.captions.tokens import IGNORED
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class CaptionLoss(Objective):
    """``L = -sum_t log p(y_t | y_1 .. y_(t-1), image)``, per image, with all words given (teacher forcing).

    The token of the end counts as a word. Every image counts, annotated or not.

    Args:
        words: "sum" is the negative log-likelihood of the caption (arXiv 1707.07998, eq. 9); "mean" divides it by the number
            of words of the caption. transformers' own losses are the mean over the words of the whole batch, in which a
            long caption weighs more than a short one.
        label_smoothing: Share of the target spread over the vocabulary, in [0, 1).

    Raises:
        ValueError: Another ``words``, ``label_smoothing`` outside [0, 1); on call, logits that are not (images, times,
            vocabulary), labels of another shape or type, tokens beyond the vocabulary, or a caption without words.

    Columns:
        labels: (images, times) int64 in [0, vocabulary): the word that logits at each time are about, -100 where none is.

    When to use:
        The term "task" of captioners: UpDnForImageCaptioning, and those of transformers.

    Reference:
        Anderson et al., "Bottom-Up and Top-Down Attention for Image Captioning and Visual Question Answering", CVPR 2018,
        arXiv 1707.07998, eq. 9.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import Gradient, WordLogit
        >>> from hf_guidance.objectives import CaptionLoss, RankingHINT
        >>> guidance = Guidance(task=CaptionLoss(), hint=RankingHINT(Gradient(target=WordLogit())))
        >>> logits, labels = torch.zeros(1, 3, 4), torch.tensor([[2, 1, -100]])
        >>> CaptionLoss().of_words(logits, labels).sum(1)  # 2 * log(4)
        tensor([2.7726])
    """

    words: str = "sum"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_choice("words", self.words, ("sum", "mean"), self)
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"CaptionLoss(label_smoothing={self.label_smoothing!r}) is outside [0, 1).")

    def needs(self) -> Needs:
        """The logits of the full input."""
        return Needs([(FULL, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Every image counts once."""
        return torch.ones(forward.images, device=forward.logits().device)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every image, (images,)."""
        logits, labels = full_precision(forward.logits()), forward.column("labels")
        labels = _checked(logits, labels)
        losses = self.of_words(logits, labels).sum(1)
        return losses if self.words == "sum" else losses / (labels != IGNORED).sum(1)

    def of_words(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of every word, 0 where there is none.

        Args:
            logits: (images, times, vocabulary).
            labels: (images, times) int64.
        """
        return F.cross_entropy(
            logits.transpose(1, 2),
            labels,
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )


def _checked(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.dim() != 3 or labels.shape != logits.shape[:2] or labels.is_floating_point():
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)} ({labels.dtype}); captions need logits "
            "(images, times, vocabulary) and labels (images, times) of tokens, as CaptionCollator makes them."
        )
    real = labels != IGNORED
    wrong = real & ((labels < 0) | (labels >= logits.shape[2]))
    text = f"labels hold a token beyond 0 to {logits.shape[2] - 1}, which the model knows; where there is no word, give -100."
    if defers_check(wrong, text):
        defers_check(~real.any(1), "the caption of an image has no word: all its labels are -100. Leave it out.")
        return labels.masked_fill(wrong, IGNORED)
    if bool(wrong.any()):
        raise ValueError(
            f"labels hold tokens from {int(labels[real].min())} to {int(labels[real].max())}, and the model knows 0 to "
            f"{logits.shape[2] - 1}; the tokenizer is that of another model. Where there is no word, give -100."
        )
    if not bool(real.any(1).all()):
        image = int((~real.any(1)).nonzero()[0, 0])
        raise ValueError(
            f"the caption of image {image} of the batch has no word: all its labels are -100. Leave it out."
        )
    return labels
