"""Sufficiency (Suff-Human)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.objectives.answers import answer_entropy, entropy_of_zeros, row_answers, view_logits, where_counted
from hf_guidance.objectives.checks import FORMS, VARIANTS, check_threshold, has_important
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import Important, Needs, Replace, View, negative_ones
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class Sufficiency(Objective):
    """``L = CrossEnt(f(x_e), y)``: the answer from the important boxes alone (arXiv 2206.11212, eq. 1).

    Explained rows without important box do not count (appendix E). Of images the boxes are pixels: those whose importance is
    above the threshold stay (``hf_guidance.views`` has replacements for the others).

    Args:
        threshold: Important is ``importance > threshold``.
        replace: What the other boxes are replaced by.
        importance: Column with human importance.
        form: The cross-entropy, as in AnswerLoss.
        variant: "official" gives explained rows without important box the constant ``log classes``, which shifts the logged
            loss and has no gradient; the released code also drops their task loss, see ``AnswerLoss(threshold=...)``.
        swapped: Replace the important boxes and keep the others. The released code does so by mistake in its baseline
            "Chang2021", which should shuffle the unimportant boxes.

    Raises:
        ValueError: Unknown form or variant, threshold outside [0, 1].

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the threshold.
        labels: (images,) int64 or (images, classes) scores in [0, 1]; the answers.

    When to use:
        The important boxes are enough to answer, and the model should manage with them: in the paper it raised accuracy on
        out-of-distribution questions nearly as much as Alignment (table 4), and needs no attribution. Prefer Alignment for one
        objective alone: on shapes_vqa the gain of Sufficiency alone was within the noise (docs/questions.md).

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, eq. 1.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import AnswerLoss, Sufficiency
        >>> guidance = Guidance(task=AnswerLoss(), sufficiency=Sufficiency(threshold=0.85))
        >>> Sufficiency.loss(torch.zeros(1, 4), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))  # logits, answer
        tensor([1.3863])
    """

    threshold: float = 0.5
    replace: Replace = negative_ones
    importance: str = IMPORTANCE
    form: str = "softmax"
    variant: str = "paper"
    swapped: bool = False

    def __post_init__(self) -> None:
        check_threshold(self)
        check_choice("form", self.form, FORMS, self)
        check_choice("variant", self.variant, VARIANTS, self)

    @property
    def view(self) -> View:
        """The important boxes alone."""
        return View(Important(self.threshold, invert=self.swapped, column=self.importance), self.replace)

    def needs(self) -> Needs:
        """The logits of the view."""
        return Needs([(self.view, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows; in the paper's variant only those with an important box."""
        if self.variant == "official":
            return forward.annotated
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row, the mean over the copies of the view."""
        logits = view_logits(forward, self.view)
        values = self.loss(logits, row_answers(forward), form=self.form).mean(0)
        if self.variant == "paper":
            return values
        counted = has_important(forward, self.importance, self.threshold)
        return where_counted(counted, values, entropy_of_zeros(logits.shape[-1], self.form))

    @staticmethod
    def loss(logits: Tensor, answers: Tensor, *, form: str = "softmax") -> Tensor:
        """Logits of the view (..., rows, classes), answers (rows, classes) or (rows,) int64, to (..., rows)."""
        return answer_entropy(logits, answers, form)
