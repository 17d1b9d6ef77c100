"""SaliencyGuided."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from hf_guidance.attributions import Attribution, Gradient, SoftLabelLogits
from hf_guidance.common.checks import check_choice
from hf_guidance.forward import Forward
from hf_guidance.objectives.answers import divergence, view_logits
from hf_guidance.objectives.checks import VARIANTS
from hf_guidance.objectives.objective import Objective
from hf_guidance.views import FULL, MostAttributed, Needs, Replace, View, negative_ones
from hf_guidance.views.important import check_ranking
from hf_guidance.views.keep import checked_shares
from hf_guidance.views.layers import LOGITS


@dataclass(frozen=True)
class SaliencyGuided(Objective):
    """``L = KL(f(x), f(x_top))``: the least attributed boxes change nothing (arXiv 2111.14338, eq. 2).

    x_top keeps the boxes to which the model itself attributes most. The loss reads no human importance, and the choice of
    boxes has no gradient. Like every objective it counts the annotated explained rows, so that it counts the same as
    objectives with importance.

    Args:
        attribution: What ranks the boxes.
        shares: Every explained row keeps one of these shares of its boxes, drawn at random.
        replace: What the other boxes are replaced by.
        variant: "official" is what the code of arXiv 2206.11212 intends, although it stops with an error before that line:
            ``KL(f(x_top), f(x))``, divided by the number of classes.
        draw: Objectives that differ in this number draw their shares apart; otherwise equal ones share one draw.

    Raises:
        ValueError: Unknown variant, no share or one outside [0, 1], or an attribution that reads edited views.

    Columns:
        labels: (images,) int64 or (images, classes) scores in [0, 1]; read by the attribution's default target,
            ``SoftLabelLogits``.
        importance: optional, (rows, height, width) or (rows, objects) in [0, 1]; handed to ``replace``, and the default
            ``negative_ones`` ignores it.

    When to use:
        Without human importance, to make predictions depend on few boxes; arXiv 2206.11212 uses it as an unsupervised
        baseline. Prefer RandomSufficiency there for accuracy, and Sufficiency or Alignment where there is importance: all
        three are above it in that paper (table 11).

    Reference:
        Ismail, Corrada Bravo and Feizi, "Improving Deep Learning Interpretability by Saliency Guided Training", NeurIPS 2021,
        arXiv 2111.14338, eq. 2.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.objectives import AnswerLoss, SaliencyGuided
        >>> guidance = Guidance(task=AnswerLoss(), saliency=SaliencyGuided(shares=(0.5,)))
        >>> SaliencyGuided.loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]]))  # of all boxes, of few
        tensor([0.3278])
    """

    attribution: Attribution = field(default_factory=lambda: Gradient(target=SoftLabelLogits()))
    shares: tuple[float, ...] = (0.9, 0.75, 0.5)
    replace: Replace = negative_ones
    variant: str = "paper"
    draw: int = 0

    def __post_init__(self) -> None:
        check_choice("variant", self.variant, VARIANTS, self)
        if not isinstance(self.attribution, Attribution):
            raise ValueError(
                f"SaliencyGuided(attribution={self.attribution!r}) is not an attribution; give for example Gradient()."
            )
        check_ranking(self, self.attribution)
        object.__setattr__(self, "shares", checked_shares(type(self).__name__, "shares", self.shares))

    @property
    def view(self) -> View:
        """The boxes with the highest attribution alone."""
        return View(MostAttributed(self.attribution, self.shares), self.replace, draw=self.draw)

    def needs(self) -> Needs:
        """The logits of both inputs, and what the attribution reads."""
        return self.attribution.needs() | {(FULL, LOGITS), (self.view, LOGITS)}

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every explained row, the mean over the copies of the view."""
        top, full = view_logits(forward, self.view), view_logits(forward, FULL)
        if self.variant == "paper":
            return self.loss(full, top).mean(0)
        return divergence(top, full).mean(0) / full.shape[-1]

    @staticmethod
    def loss(full: Tensor, top: Tensor) -> Tensor:
        """Logits on x and on x_top, (..., rows, classes) each, to (..., rows) >= 0."""
        return divergence(full, top)
