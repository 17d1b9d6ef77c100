"""LeaveOneOut."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.perturbation import Perturbation, over_repeats
from hf_guidance.common.checks import check_count
from hf_guidance.forward import Forward
from hf_guidance.views import OneBox, View


@dataclass(frozen=True)
class LeaveOneOut(Perturbation):
    """``A_j = score(x) - score(x without j)`` (occlusion; arXiv 2206.11212, app. A, LOO).

    No gradient flows through score(x), so that guidance does not change the answer to the full input (app. E there).

    Args:
        layer: Where places are taken out.
        target: Which score is explained.
        replace: What stands in their place.
        budget: Copies; None is one for each place. Below the number of places every row has ``budget`` random places of
            its own, averaged where one is drawn twice, and 0 elsewhere.

    Raises:
        ValueError: ``budget`` is below 1.

    Note:
        score(x) is a constant to training, so what it shares with the other scores cancels in the map but not in the
        map's gradient. Under Alignment from scratch that lets all scores run away (docs/questions.md): watch the accuracy,
        or guide by KernelSHAP, AverageEffect or gradients.

    Example:
        >>> guidance = Guidance(task=AnswerLoss(), inv_fi=InvarianceFI(LeaveOneOut()))
    """

    budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None:
            check_count("budget", self.budget, self)

    @property
    def views(self) -> tuple[View, ...]:
        """Every place left out."""
        return (self.view(OneBox(self.budget, leave_out=True)),)

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        (view,) = self.views
        scores = forward.scores(self.target, view)
        change = forward.scores(self.target).detach() - scores
        return over_repeats(change, 1 - self.mask(forward, view, scores))
