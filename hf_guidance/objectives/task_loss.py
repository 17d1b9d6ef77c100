"""TaskLoss: the classification loss, per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class TaskLoss(Objective):
    """Cross-entropy for integer labels (images,), mean binary cross-entropy for multi-hot labels (images, classes).

    The dtype of the column ``labels`` decides which; the collator chooses it by the model's ``problem_type``. Every image
    counts, annotated or not. The mean over images equals the loss of transformers' image classification heads.

    Args:
        label_smoothing: Share of the target spread over all classes, in [0, 1); integer labels only.

    Raises:
        ValueError: ``label_smoothing`` outside [0, 1); on call, ``label_smoothing`` with multi-hot labels.

    Columns:
        labels: (images,) int64 classes, or (images, classes) floating point in [0, 1], multi-hot.

    When to use:
        The term "task" of image classification with one or several labels, and what Guidance adds where no "task" is given.
        Prefer AnswerLoss for visual question answering.

    Reference:
        Rao, Böhle, Parchami-Araghi and Schiele, "Studying How to Efficiently and Effectively Guide Models with
        Explanations" (first version: "Using Explanations to Guide Models"), ICCV 2023, arXiv 2303.11932, L_class of eq. 1,
        which is the multi-hot form.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing} is outside [0, 1).")

    def needs(self) -> Needs:
        """The logits of the full input."""
        return Needs([(FULL, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Every image counts once."""
        return torch.ones(forward.images, device=forward.logits().device)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every image, (images,)."""
        logits, labels = full_precision(forward.logits()), forward.column("labels")
        if labels.is_floating_point():
            if self.label_smoothing:
                raise ValueError(
                    f"label_smoothing={self.label_smoothing} with multi-hot labels: only integer labels (single-label "
                    "classification) can be smoothed; set label_smoothing_factor=0, or give TaskLoss() without it."
                )
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").mean(1)
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.label_smoothing)
