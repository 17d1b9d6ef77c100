"""Losses on answers, per explained row: functions that the objectives on views share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.views import FULL, View


def view_logits(forward: Forward, view: View) -> Tensor:
    """Logits of the explained rows on a view, (copies, rows, classes) in full precision; one copy for FULL."""
    logits = full_precision(forward.logits(view))
    copies = logits[None] if view == FULL else logits
    return forward.of_rows(copies.movedim(-2, 0)).movedim(0, -2)


def row_answers(forward: Forward) -> Tensor:
    """The column ``labels`` of the explained rows: (rows,) int64 or (rows, classes) soft answers."""
    return forward.of_rows(forward.column("labels"))


def answer_entropy(logits: Tensor, answers: Tensor, form: str) -> Tensor:
    """Cross-entropy of answers.

    Args:
        logits: (..., rows, classes).
        answers: (rows,) int64, or (rows, classes) soft scores in [0, 1].
        form: "softmax": cross-entropy of the best answer (the first on ties); "sigmoid": binary cross-entropy, summed
            over classes.

    Returns:
        (..., rows).
    """
    classes = logits.shape[-1]
    if form == "softmax":
        best = answers.argmax(-1) if answers.dim() == 2 else answers
        flat = logits.reshape(-1, classes)
        chosen = best.expand(logits.shape[:-1]).reshape(-1)
        return F.cross_entropy(flat, chosen, reduction="none").reshape(logits.shape[:-1])
    soft = answers if answers.dim() == 2 else F.one_hot(answers, classes)
    soft = soft.to(logits.dtype).expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, soft, reduction="none").sum(-1)


def prediction_entropy(logits: Tensor, form: str) -> Tensor:
    """Entropy of what is predicted, (..., classes) to (...) >= 0.

    Args:
        logits: A class with -inf adds 0.
        form: "softmax": ``-sum_c p_c log p_c``; "sigmoid": the sum over classes of the entropy of yes and no.
    """
    if form == "softmax":
        chance = logits.log_softmax(-1)
        share = chance.exp()
        return -(share * torch.where(share > 0, chance, 0)).sum(-1)
    yes, no = F.logsigmoid(logits), F.logsigmoid(-logits)
    return -(yes.exp() * torch.where(yes.exp() > 0, yes, 0) + no.exp() * torch.where(no.exp() > 0, no, 0)).sum(-1)


def entropy_of_zeros(classes: int, form: str) -> float:
    """``answer_entropy`` of all-zero logits and answers: the loss of rows that the released code leaves out."""
    return math.log(classes) if form == "softmax" else classes * math.log(2)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """``KL(softmax(first), softmax(second))`` over the last axis; both sides carry gradients.

    A class with a logit of -inf in ``first`` adds 0.
    """
    own, other = first.log_softmax(-1), second.log_softmax(-1)
    share = own.exp()
    return (share * torch.where(share > 0, own - other, 0)).sum(-1)


def where_counted(counted: Tensor, values: Tensor, otherwise: float = 0.0) -> Tensor:
    """``values`` of the rows that count, and a constant without gradient for the others."""
    return torch.where(counted, values, otherwise)
