"""Which logit is explained, as weights over the classes: the explained score is ``sum_k weight_k * logit_k``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.forward import Forward

__all__ = ["ContrastLogits", "LabelLogit", "PredictedLogit", "SoftLabelLogits", "Target"]


@dataclass(frozen=True)
class Target:
    """Base: class weights of the explained rows. The weights are constants of the differentiation."""

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """Give the class weights.

        Args:
            logits: (rows, classes) of the explained rows.
            forward: The step, for its columns.

        Returns:
            (rows, classes) of the dtype of ``logits``, without gradient.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(logits, forward).")


@dataclass(frozen=True)
class LabelLogit(Target):
    """The logit of the row's explained class, column ``target``: the label, or one of the positives."""

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One-hot of the column ``target``."""
        return F.one_hot(forward.column("target"), logits.shape[1]).to(logits.dtype)


@dataclass(frozen=True)
class PredictedLogit(Target):
    """The highest logit of the row: the class the model predicts, whatever the label."""

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One-hot of the argmax; the first index on ties."""
        return F.one_hot(logits.detach().argmax(1), logits.shape[1]).to(logits.dtype)


@dataclass(frozen=True)
class SoftLabelLogits(Target):
    """The sum of the logits of every class with a positive (soft or multi-hot) label."""

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """One where the label is positive."""
        labels = forward.of_rows(forward.column("labels"))
        if labels.dim() == 1:
            return F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        return (labels > 0).to(logits.dtype)


@dataclass(frozen=True)
class ContrastLogits(Target):
    """|y_c - max_{k != c} y_k| for the explained class c; with two classes |y_0 - y_1| (GradMask, arXiv 1904.08478)."""

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """Plus and minus one at the two classes, signed so that the score is not negative."""
        own = F.one_hot(forward.column("target"), logits.shape[1]).bool()
        fixed = logits.detach()
        rival = F.one_hot(fixed.masked_fill(own, -torch.inf).argmax(1), logits.shape[1]).to(logits.dtype)
        difference = own.to(logits.dtype) - rival
        return difference * torch.sign((difference * fixed).sum(1, keepdim=True))
