"""ComparisonSCR."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.attributions import Attribution, Gradient, SoftLabelLogits, Target
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.objectives.answers import row_answers, view_logits
from hf_guidance.objectives.checks import FORMS, VARIANTS, check_threshold, has_important
from hf_guidance.objectives.influence_scr import chosen_proposal, hinted
from hf_guidance.objectives.objective import Objective, without_padding
from hf_guidance.views import FULL, Needs
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class _RankedLogit(Target):
    # The logit of the class that has this rank among the logits; 0 is the highest.
    rank: int = 0

    def __call__(self, logits: Tensor, forward: Forward) -> Tensor:
        order = torch.sort(logits.detach(), dim=1, descending=True, stable=True).indices
        chosen = order[:, min(self.rank, logits.shape[1] - 1)]
        return F.one_hot(chosen, logits.shape[1]).to(logits.dtype)


@dataclass(frozen=True)
class ComparisonSCR(Objective):
    """``L = sum over c in B of w_c (A_c[v] - A[v])``: the self-critical loss (arXiv 1905.09998).

    B holds those of the ``answers`` most probable classes that are more probable than the correct one. A_c is the
    attribution of class c, A that of the correct answers, and v the important box with the largest A. Gradients flow
    through both attributions; the cost is one backward per compared class.

    Args:
        attribution: The gradient of the correct answers; for A_c its target is replaced by class c.
        answers: How many of the most probable classes are compared.
        threshold: Important is ``importance > threshold``.
        importance: Column with human importance.
        similarity: Column (images, classes) with the similarity of every answer to the correct one, for
            ``w_c = 1 - similarity``; None is ``w_c = 1``.
        form: "softmax" or "sigmoid": how logits become probabilities.
        variant: "official" is the loss of the code that arXiv 2206.11212 uses: v is the box whose number equals the rank of
            the proposal that InfluenceSCR chose (a defect), w_c also has the factor ``P_c - P_correct``, and the sum over the
            batch is divided by the number of comparisons: use ``Term(..., reduction="sum")``. With "softmax" that code has
            ``P = 1`` for every class, so the loss is always 0 (a defect).
        slack: As in InfluenceSCR.

    Raises:
        ValueError: Unknown form or variant, threshold outside [0, 1], fewer than one answer, or ``attribution`` is not an
            attribution. On use, maps of images.

    Columns:
        importance: (rows, objects) in [0, 1], any real dtype; compared with the threshold. Maps of pixels do not work.
        labels: (images,) int64 or (images, classes) scores in [0, 1]; the correct answers, read by the loss and by the
            attribution's default target, ``SoftLabelLogits``.

    When to use:
        Beside InfluenceSCR, for models whose wrong answers win by the very box that should speak for the correct one. It is 0
        where the correct answer is the most probable. Prefer Alignment for accuracy: SCR did not beat unsupervised training
        in arXiv 2206.11212 (table 2), where the code's self-critical loss was 0 and InfluenceSCR acted alone.

    Reference:
        Wu and Mooney, "Self-Critical Reasoning for Robust Visual Question Answering", NeurIPS 2019, arXiv 1905.09998, the
        self-critical loss.

    Example:
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import AnswerLoss, ComparisonSCR, InfluenceSCR
        >>> scr = {"influence": Term(InfluenceSCR(), 1e-3), "comparison": Term(ComparisonSCR(answers=4), 1e-3)}
        >>> sorted(Guidance(task=AnswerLoss(), **scr))
        ['comparison', 'influence', 'task']
    """

    attribution: Attribution = field(default_factory=lambda: Gradient(target=SoftLabelLogits()))
    answers: int = 4
    threshold: float = 0.5
    importance: str = IMPORTANCE
    similarity: str | None = None
    form: str = "softmax"
    variant: str = "paper"
    slack: float = 1e-7

    def __post_init__(self) -> None:
        check_threshold(self)
        check_choice("form", self.form, FORMS, self)
        check_choice("variant", self.variant, VARIANTS, self)
        if not (isinstance(self.answers, int) and self.answers >= 1):
            raise ValueError(f"ComparisonSCR(answers={self.answers!r}): give at least 1 answer; the paper has 4.")
        if not isinstance(self.attribution, Attribution):
            raise ValueError(
                f"ComparisonSCR(attribution={self.attribution!r}) is not an attribution; give for example Gradient()."
            )

    def needs(self) -> Needs:
        """What the attribution reads, and the logits."""
        return self.attribution.needs() | {(FULL, LOGITS)}

    def rows(self, forward: Forward) -> Tensor:
        """Annotated explained rows; in the paper's variant only those with an important box."""
        if self.variant == "official":
            return forward.annotated
        return forward.annotated * has_important(forward, self.importance, self.threshold)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row; in the official variant its share of the mean over the batch."""
        logits = view_logits(forward, FULL)[0]
        answers = row_answers(forward)
        correct = (answers.argmax(1) if answers.dim() == 2 else answers)[:, None]
        top = torch.sort(logits.detach(), dim=1, descending=True, stable=True).indices[:, : self.answers]
        probability = self._probability(logits)
        lead = probability.gather(1, top) - probability.gather(1, correct)
        own = forward.attribution(self.attribution)
        if own.dim() != 2:
            raise ValueError(
                f"ComparisonSCR compares boxes, and {self.attribution!r} gives {tuple(own.shape[1:])} per explained row; take "
                "the attribution at the input of a model of region features."
            )
        box, weight = self._box(own, without_padding(forward, forward.importance(self.importance, own.shape[1:])))
        if self.similarity is not None:
            weight = weight * (1 - forward.of_rows(forward.column(self.similarity)).to(own.dtype).gather(1, top))
        rivals = torch.cat([self._of_class(forward, rank).gather(1, box) for rank in range(top.shape[1])], 1)
        difference = weight * (rivals - own.gather(1, box))
        if self.variant == "paper":
            return torch.where(lead > 0, difference, 0).sum(1)
        annotated = forward.annotated[:, None]
        values = torch.where((lead > 0) & (annotated > 0), lead * difference, 0).sum(1)
        return values / ((lead > 0).to(values.dtype).sum() + 1e-4)

    def _probability(self, logits: Tensor) -> Tensor:
        if self.form == "sigmoid":
            return logits.sigmoid()
        return torch.ones_like(logits) if self.variant == "official" else logits.softmax(1)

    def _box(self, own: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        # The compared box and the weight of its comparisons, (rows, 1) each.
        if self.variant == "paper":
            important = importance > self.threshold
            return own.detach().masked_fill(~important, -torch.inf).argmax(1, keepdim=True), torch.ones_like(own[:, :1])
        _, rank, _ = chosen_proposal(own.detach(), importance.to(own.dtype), self.slack)
        return rank[:, None], hinted(importance.to(own.dtype)).gather(1, rank[:, None])

    def _of_class(self, forward: Forward, rank: int) -> Tensor:
        return forward.attribution(replace(self.attribution, target=_RankedLogit(rank))).flatten(1)
