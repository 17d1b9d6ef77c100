"""Which score is explained. Most are a logit, or a sum of logits: ``sum_k weight_k * logit_k`` with constant weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.data.columns import TARGET
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision

__all__ = ["ContrastLogits", "LabelLogit", "LogProbabilities", "PredictedLogit", "SoftLabelLogits", "Target"]


@dataclass(frozen=True)
class Target:
    """Base: the class weights of the explained rows, which are the derivative of the explained score in the logits.

    A linear target has constant weights, and its score is their sum with the logits. Another one sets ``linear = False`` and
    defines ``score`` too; its weights keep their graph, because they depend on the logits.

    Attributes:
        linear: Whether the weights count as constants when scores are differentiated.
    """

    linear: ClassVar[bool] = True

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """Give the class weights.

        Args:
            logits: (rows, classes) of the explained rows.
            forward: The step, which gives the columns of the batch.

        Returns:
            (rows, classes) in the dtype of ``logits``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(logits, forward).")

    def score(self, logits: Tensor, forward: Forward) -> Tensor:
        """Give the explained scores: those of a linear target, whose weights come from the full input for every view.

        Args:
            logits: (..., rows, classes) of any view.
            forward: The step.

        Returns:
            (..., rows).
        """
        return (forward.weights(self) * logits).sum(-1)

    def of_rows(self, logits: Tensor, forward: Forward) -> Tensor:
        """Give the explained scores of the model's logits; by default ``score`` of each row's image, at its time.

        Args:
            logits: (copies, images, classes), or (copies, images, times, classes) of a model of sequences.
            forward: The step.

        Returns:
            (copies, rows).
        """
        return self.score(forward.logits_of_rows(logits), forward)


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

    The score is never negative: where the rival wins the map explains what speaks for the rival. With two classes it is the map
    of the decision, whatever the label.

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


@dataclass(frozen=True)
class LogProbabilities(Target):
    """``sum_k log(p_k + epsilon)`` over all classes k, p = softmax(logits): what RRR differentiates (arXiv 1703.03717, eq. 1).

    The score names no class. Its weights ``r_k - p_k * sum_j r_j`` with ``r = p / (p + epsilon)``, which is ``1 - classes *
    p_k`` for epsilon 0, change with the logits, and losses on its gradients are differentiated through them too.

    Args:
        epsilon: Added to every probability, >= 0; 1e-11 in the code of arXiv 1910.00199, and 0 in RRR's own.

    Raises:
        ValueError: ``epsilon`` is not a finite number >= 0.

    Columns:
        none beside the model's inputs
    """

    linear: ClassVar[bool] = False
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.epsilon, int | float) or not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ValueError(f"LogProbabilities(epsilon={self.epsilon!r}): give a finite number >= 0, as 0 or 1e-11.")

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        """The derivative of the score in the logits, float32 where they are of half precision; it sums to 0."""
        shares = full_precision(logits).softmax(-1)
        if not self.epsilon:
            return 1 - shares.shape[-1] * shares
        ratios = shares / (shares + self.epsilon)
        return ratios - shares * ratios.sum(-1, keepdim=True)

    def score(self, logits: Tensor, forward: Forward) -> Tensor:
        """The sum of the logarithms, <= 0 for epsilon 0; without underflow where epsilon is 0."""
        logits = full_precision(logits)
        if not self.epsilon:
            return logits.log_softmax(-1).sum(-1)
        return (logits.softmax(-1) + self.epsilon).log().sum(-1)
