"""RandomSufficiency (Suff-Random)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward
from hf_guidance.objectives.answers import answer_entropy, row_answers, view_logits
from hf_guidance.objectives.checks import FORMS
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import Needs, RandomKeep, Replace, View, negative_ones
from hf_guidance.views.keep import checked_shares
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class RandomSufficiency(Objective):
    """``L = CrossEnt(f(x_s), y)`` with random s: the control of Sufficiency (arXiv 2206.11212, eq. 2).

    In every step each image draws a share of boxes to drop, then drops each box with that probability. The loss reads no
    human importance. Like every objective it counts the annotated explained rows, so that it counts the same as Sufficiency.

    Args:
        shares: The shares to draw from, each in [0, 1]; the paper's code has .1, .25 and .5.
        replace: What dropped boxes are replaced by.
        form: The cross-entropy, as in AnswerLoss.
        draw: Objectives that differ in this number draw their boxes apart; otherwise equal ones share one draw.

    Raises:
        ValueError: Unknown form, no share, or a share outside [0, 1].

    Columns:
        labels: (images,) int64 or (images, classes) scores in [0, 1]; the answers.
        importance: optional, (rows, height, width) or (rows, objects) in [0, 1]; handed to ``replace``, and the default
            ``negative_ones`` ignores it.

    When to use:
        As the unsupervised control of Sufficiency, or without human importance: in the paper it raised accuracy on
        out-of-distribution questions of CLEVR-XAI, by less than Sufficiency (table 4). Prefer Sufficiency where there is
        importance.

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, eq. 2.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import AnswerLoss, RandomSufficiency
        >>> guidance = Guidance(task=AnswerLoss(), sufficiency=RandomSufficiency(shares=(0.25,)))
        >>> RandomSufficiency.loss(torch.zeros(1, 4), torch.tensor([2]))  # logits, answer
        tensor([1.3863])
    """

    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    replace: Replace = negative_ones
    form: str = "softmax"
    draw: int = 0

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS, self)
        object.__setattr__(self, "shares", checked_shares(type(self).__name__, "shares", self.shares))

    @property
    def view(self) -> View:
        """The boxes that stay."""
        return View(RandomKeep(self.shares), self.replace, draw=self.draw)

    def needs(self) -> Needs:
        """The logits of the view."""
        return Needs([(self.view, LOGITS)])

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row, the mean over the draws of the view."""
        return self.loss(view_logits(forward, self.view), row_answers(forward), form=self.form).mean(0)

    @staticmethod
    def loss(logits: Tensor, answers: Tensor, *, form: str = "softmax") -> Tensor:
        """Logits of the view (..., rows, classes), answers (rows, classes) or (rows,) int64, to (..., rows)."""
        return answer_entropy(logits, answers, form)
