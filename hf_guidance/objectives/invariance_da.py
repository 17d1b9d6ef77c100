"""InvarianceDA (Inv-DA)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.objectives.answers import divergence, view_logits, where_counted
from hf_guidance.objectives.checks import VARIANTS, check_threshold, has_important
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, Important, ImportantOrRandom, Needs, Replace, View, negative_ones
from hf_guidance.views.layers import LOGITS

_DISTANCES = ("kl", "l2")


@dataclass(frozen=True)
class InvarianceDA(Objective):
    """``L = KL(f(x_e), f(x_{e or u}))``: adding unimportant boxes changes nothing (arXiv 2206.11212, eq. 4).

    x_e holds the important boxes, x_{e or u} also a random choice of the others. Gradients flow through both sides.
    Explained rows without important box do not count (appendix E).

    Args:
        threshold: Important is ``importance > threshold``.
        replace: What the boxes left out are replaced by.
        importance: Column with human importance.
        distance: "kl", or "l2": the mean squared difference of the log-probabilities.
        variant: "official" compares with the full input: ``KL(f(x_{e or u}), f(x))``, divided by the number of classes, and
            "l2" compares the logits themselves. The released code also drops the task loss of explained rows without
            important box, see ``AnswerLoss(threshold=...)``.
        draw: Objectives that differ in this number draw their boxes apart; otherwise equal ones share one draw.

    Raises:
        ValueError: Unknown distance or variant, threshold outside [0, 1].

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the threshold.

    When to use:
        Predictions should not change with the unimportant boxes (it has the best RRR-Inv in table 4 of the paper), at the
        cost of first derivatives only. Prefer InvarianceFI for accuracy: the paper replaced Inv-DA by it because Inv-DA did not
        beat the baseline (table 11).

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, eq. 4.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import AnswerLoss, InvarianceDA
        >>> guidance = Guidance(task=AnswerLoss(), invariance=InvarianceDA(threshold=0.85))
        >>> InvarianceDA.loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]]))  # of some boxes, of more
        tensor([0.3278])
    """

    threshold: float = 0.5
    replace: Replace = negative_ones
    importance: str = IMPORTANCE
    distance: str = "kl"
    variant: str = "paper"
    draw: int = 0

    def __post_init__(self) -> None:
        check_threshold(self)
        check_choice("distance", self.distance, _DISTANCES, self)
        check_choice("variant", self.variant, VARIANTS, self)

    @property
    def view(self) -> View:
        """The important boxes and a random choice of the others."""
        return View(ImportantOrRandom(self.threshold, column=self.importance), self.replace, draw=self.draw)

    @property
    def reference(self) -> View:
        """The view that is compared with: the important boxes alone; the full input in the official variant."""
        if self.variant == "official":
            return FULL
        return View(Important(self.threshold, column=self.importance), self.replace)

    def needs(self) -> Needs:
        """The logits of both views."""
        return Needs([(self.view, LOGITS), (self.reference, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows with an important box."""
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row, the mean over the copies of the view."""
        more, reference = view_logits(forward, self.view), view_logits(forward, self.reference)
        if self.variant == "paper":
            return self.loss(reference, more, distance=self.distance).mean(0)
        kl, classes = self.distance == "kl", more.shape[-1]
        values = divergence(more, reference) / classes if kl else (more - reference).square().mean(-1)
        return where_counted(has_important(forward, self.importance, self.threshold), values.mean(0))

    @staticmethod
    def loss(important: Tensor, more: Tensor, *, distance: str = "kl") -> Tensor:
        """Logits on x_e and on x_{e or u}, (..., rows, classes) each, to (..., rows) >= 0."""
        if distance == "l2":
            own, other = important.log_softmax(-1), more.log_softmax(-1)
            # Where both exclude a class by -inf, the difference would be NaN: equal values give 0 first.
            return torch.where(own == other, 0, own - other).square().mean(-1)
        return divergence(important, more)
