"""The loss of models that choose among answers with soft scores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ANSWER_LOSSES = ("softmax", "sigmoid")


def soft_answer_loss(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """The mean loss over the questions.

    Args:
        logits: (rows, classes).
        labels: (rows, classes) soft scores in [0, 1], or (rows,) int64 classes.
        kind: "softmax": cross-entropy against the answer of highest score; "sigmoid": binary cross-entropy against all
            scores, summed over the answers.

    Raises:
        ValueError: Labels of another shape.
    """
    if labels.dim() == 1 and not labels.is_floating_point():
        labels = torch.zeros_like(logits).scatter(1, labels[:, None], 1.0)
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}; "
            "(rows, classes) soft scores or (rows,) int64 classes are needed."
        )
    if kind == "softmax":
        return functional.cross_entropy(logits, labels.argmax(-1))
    loss = functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return loss * logits.shape[1]
