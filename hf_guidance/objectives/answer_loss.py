"""AnswerLoss: the task loss of visual question answering, per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.objectives.answers import answer_entropy, entropy_of_zeros, where_counted
from hf_guidance.objectives.checks import FORMS, check_threshold, has_important
from hf_guidance.objectives.labels import checked_labels
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class AnswerLoss(Objective):
    """Cross-entropy of answers with soft scores, per image (arXiv 2206.11212, L_Task).

    "softmax": ``L = -log softmax(f(x))_y`` with y the answer of the highest score, the first on ties; the scores of the
    other answers are not used. "sigmoid": ``L = sum_c BCE(sigmoid(f(x)_c), a_c)``, as the first UpDn models were trained.
    Integer labels are answers with score one. With "softmax" an image without any scored answer (all of them outside the
    vocabulary) has no best answer, and its loss is 0.

    Args:
        form: "softmax" or "sigmoid".
        threshold: None counts every image, as the paper says. With a threshold, an image with an annotated explained row
            that has no ``importance > threshold`` has a constant loss instead, that of all-zero logits and answers (log
            classes with "softmax"), as in the released code of Suff-Human and Inv-DA. Images without annotation keep their
            task loss.
        importance: Column with human importance, read only where a threshold is given.

    Raises:
        ValueError: Unknown form, or threshold outside [0, 1]; on call, labels that ``checked_labels`` refuses.

    Columns:
        labels: (images, classes) scores in [0, 1], or (images,) integers in [0, classes); the answers.
        importance: optional, (rows, height, width) or (rows, objects) in [0, 1], any real dtype; read only where a threshold
            is given.

    When to use:
        The term "task" of visual question answering, whose answers have soft scores. Prefer TaskLoss for the classification of
        images.

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives",
        NeurIPS 2022, arXiv 2206.11212, L_Task of eq. 7.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import AnswerLoss
        >>> guidance = Guidance(task=AnswerLoss())
        >>> AnswerLoss.loss(torch.zeros(1, 4), torch.tensor([[0.0, 0.6, 1.0, 0.0]]))  # logits, scores
        tensor([1.3863])
    """

    form: str = "softmax"
    threshold: float | None = None
    importance: str = IMPORTANCE

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS, self)
        if self.threshold is not None:
            check_threshold(self)

    def needs(self) -> Needs:
        """The logits of the full input."""
        return Needs([(FULL, LOGITS)])

    def rows(self, forward: Forward) -> Tensor:
        """Every image counts once."""
        return torch.ones(forward.images, device=forward.logits().device)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every image, (images,)."""
        logits = full_precision(forward.logits())
        labels = checked_labels(forward.column("labels"), logits)
        values = self.loss(logits, labels, form=self.form)
        if self.form == "softmax" and labels.dim() == 2:
            values = where_counted((labels > 0).any(1), values)
        if self.threshold is None:
            return values
        lacks = ~has_important(forward, self.importance, self.threshold)
        dropped = forward.of_images(forward.annotated * lacks) > 0
        return where_counted(~dropped, values, entropy_of_zeros(logits.shape[-1], self.form))

    @staticmethod
    def loss(logits: Tensor, answers: Tensor, *, form: str = "softmax") -> Tensor:
        """Logits (images, classes), answers (images, classes) in [0, 1] or (images,) int64, to (images,)."""
        return answer_entropy(logits, answers, form)
