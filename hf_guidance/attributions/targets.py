"""Which logit is explained, as weights over the classes: the explained score is ``sum_k weight_k * logit_k``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.data.columns import TARGET
from hf_guidance.forward import Forward

__all__ = ["ContrastLogits", "LabelLogit", "PredictedLogit", "SoftLabelLogits", "Target"]


@dataclass(frozen=True)
class Target:
    """Base: class weights of the explained rows. They count as constants when scores are differentiated."""

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """Give the class weights.

        Args:
            logits: (rows, classes) of the explained rows.
            forward: The step, which gives the columns of the batch.

        Returns:
            (rows, classes) in the dtype of ``logits``, without gradient.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(logits, forward).")


@dataclass(frozen=True)
class LabelLogit(Target):
    """The logit of the explained class: the image's label, or one of its positive classes.

    Columns:
        target: (rows,) int64 in [0, classes), the class of each explained row.
    """

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One-hot of the column ``target``."""
        return F.one_hot(forward.column(TARGET), logits.shape[1]).to(logits.dtype)


@dataclass(frozen=True)
class PredictedLogit(Target):
    """The highest logit of the explained row: the class that the model predicts, whatever the label.

    Columns:
        none beside the model's inputs
    """

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One-hot of the argmax; the first index on ties."""
        return F.one_hot(logits.detach().argmax(1), logits.shape[1]).to(logits.dtype)


@dataclass(frozen=True)
class SoftLabelLogits(Target):
    """The sum of the logits of every class with a positive (soft or multi-hot) label.

    Columns:
        labels: (images, classes), positive at the classes of the image; or (images,) int64, one class per image.
    """

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One where the label is positive."""
        labels = forward.of_rows(forward.column("labels"))
        if labels.dim() == 1:
            return F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        return (labels > 0).to(logits.dtype)


@dataclass(frozen=True)
class ContrastLogits(Target):
    """|y_c - max_{k != c} y_k| for the explained class c; with two classes |y_0 - y_1| (GradMask, arXiv 1904.07478).

    Columns:
        target: (rows,) int64 in [0, classes), the class c of each explained row.
    """

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """Plus and minus one at the two classes, signed so that the score is not negative."""
        own = F.one_hot(forward.column(TARGET), logits.shape[1]).bool()
        fixed = logits.detach()
        rival = F.one_hot(fixed.masked_fill(own, -torch.inf).argmax(1), logits.shape[1]).to(logits.dtype)
        difference = own.to(logits.dtype) - rival
        return difference * torch.sign((difference * fixed).sum(1, keepdim=True))
