"""Uncertainty (Unc)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.objectives.answers import view_logits, where_counted
from hf_guidance.objectives.checks import FORMS, VARIANTS, check_threshold, has_important, has_unimportant
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import Important, Needs, Replace, View, negative_ones
from hf_guidance.views.layers import LOGITS

_DISTANCES = ("kl", "l2")


@dataclass(frozen=True)
class Uncertainty(Objective):
    """``L = KL(Unif(Y), f(x_u))``: no answer from the unimportant boxes alone (arXiv 2206.11212, eq. 3).

    Explained rows without important box do not count (appendix E): their x_u is the whole input. Of images the
    boxes are pixels.

    Args:
        threshold: Unimportant is ``importance <= threshold``.
        replace: What the important boxes are replaced by.
        importance: Column with human importance.
        distance: "kl", or "l2": the mean squared difference of the log-probabilities to log(1 / classes).
        form: "softmax", or "sigmoid": every class is a separate yes-or-no decision that should have probability 1/2; the
            divergence is summed over classes.
        variant: "official" divides KL by the number of classes once more (1/28 to 1/3100 of the paper's weight), counts
            explained rows without important box and leaves out those whose boxes are all important. With ``form="sigmoid"``
            it aims at probability one for every answer (a defect).

    Raises:
        ValueError: Unknown distance, form or variant, threshold outside [0, 1].

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the threshold.

    When to use:
        Beside Sufficiency, for a model that should not be sure of an answer without the important boxes: it lowers RRR-Unc
        most (table 4 of the paper). Do not use it alone for accuracy: on shapes_vqa that lost 7.7 points out of distribution
        (docs/questions.md); prefer Alignment.

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, eq. 3.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import AnswerLoss, Sufficiency, Uncertainty
        >>> terms = {"sufficiency": Sufficiency(0.85), "uncertainty": Term(Uncertainty(0.85), weight=0.1)}
        >>> guidance = Guidance(task=AnswerLoss(), **terms)
        >>> Uncertainty.loss(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))  # unsure, and sure
        tensor([0.0000, 0.4338])
    """

    threshold: float = 0.5
    replace: Replace = negative_ones
    importance: str = IMPORTANCE
    distance: str = "kl"
    form: str = "softmax"
    variant: str = "paper"

    def __post_init__(self) -> None:
        check_threshold(self)
        check_choice("distance", self.distance, _DISTANCES, self)
        check_choice("form", self.form, FORMS, self)
        check_choice("variant", self.variant, VARIANTS, self)

    @property
    def view(self) -> View:
        """The unimportant boxes alone."""
        return View(Important(self.threshold, invert=True, column=self.importance), self.replace)

    def needs(self) -> Needs:
        """The logits of the view."""
        return Needs([(self.view, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows with an important box; all annotated ones in the official variant."""
        if self.variant == "official":
            return forward.annotated
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row, the mean over the copies of the view."""
        logits = view_logits(forward, self.view)
        if self.variant == "paper":
            return self.loss(logits, distance=self.distance, form=self.form).mean(0)
        values = _official(logits, self.distance, self.form).mean(0)
        return where_counted(has_unimportant(forward, self.importance, self.threshold), values)

    @staticmethod
    def loss(logits: Tensor, *, distance: str = "kl", form: str = "softmax") -> Tensor:
        """Logits of the unimportant-only view (..., rows, classes), to (..., rows) >= 0."""
        classes = logits.shape[-1]
        if form == "sigmoid":
            # KL(1/2, p) = -log 2 - (log p + log (1 - p)) / 2, for each class
            yes, no = F.logsigmoid(logits), F.logsigmoid(-logits)
            if distance == "l2":
                return (yes + math.log(2)).square().mean(-1)
            return (-math.log(2) - (yes + no) / 2).sum(-1)
        log_probability = logits.log_softmax(-1)
        if distance == "l2":
            return (log_probability + math.log(classes)).square().mean(-1)
        return -math.log(classes) - log_probability.mean(-1)


def _official(logits: Tensor, distance: str, form: str) -> Tensor:
    classes = logits.shape[-1]
    if form == "softmax":
        value = Uncertainty.loss(logits, distance=distance)
        return value / classes if distance == "kl" else value
    difference = F.logsigmoid(logits)
    return difference.square().mean(-1) if distance == "l2" else -difference.mean(-1)
