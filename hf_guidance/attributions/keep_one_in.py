"""KeepOneIn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.perturbation import Perturbation, over_repeats
from hf_guidance.common.checks import check_count
from hf_guidance.forward import Forward
from hf_guidance.views import Nothing, OneBox, View


@dataclass(frozen=True)
class KeepOneIn(Perturbation):
    """``A_j = score(only j) - score(nothing)`` (arXiv 2206.11212, app. A, KOI).

    "Nothing" is the input with every place replaced. No gradient flows through its score.

    Args:
        layer: Where places are taken out.
        target: Which score is explained.
        replace: What stands in their place.
        budget: Copies beside "nothing"; None makes one per place. Below the number of places ``budget`` random places
            are explained per image; a place that is drawn twice gets the mean, a place that is not drawn gets 0.

    Raises:
        ValueError: ``budget`` is below 1.

    Note:
        Training holds score(nothing) constant. What it shares with the other scores, such as the bias of an answer,
        cancels in the map, but not in the map's gradient. Under Alignment from scratch this lets all scores run away
        (docs/questions.md): watch the accuracy, or guide by KernelSHAP, AverageEffect or gradients.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.
        importance: optional, (rows, *space) in [0, 1]; handed to the Replace function, whose default ignores it.

    When to use:
        Models over boxes: Inv-FI, for which arXiv 2206.11212 tuned it (app. F), and plausibility and faithfulness on
        CLEVR-XAI and VQA-HAT (app. G). Costs a forward of one copy of the batch per place and one of "nothing", and no
        gradient at activations. Prefer LeaveOneOut to ask what the full input loses without a place, and for
        Alignment the methods that the Note names.

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason
        Objectives", NeurIPS 2022, arXiv 2206.11212, app. A (KOI).

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, explain_answer
        >>> from hf_guidance.attributions import KeepOneIn
        >>> from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
        >>> from hf_guidance.objectives import AnswerLoss, InvarianceFI
        >>> guidance = Guidance(task=AnswerLoss(), inv_fi=InvarianceFI(KeepOneIn()))
        >>> question, features, boxes = "what is it", torch.rand(2, 8), [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
        >>> tokenizer = word_tokenizer([question])
        >>> model = UpDnForQuestionAnswering(UpDnConfig(len(tokenizer), visual_feat_dim=8, num_labels=3))
        >>> explain_answer(model, question, features, boxes, tokenizer, attribution=KeepOneIn()).box_scores.shape
        (2,)
    """

    budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None:
            check_count("budget", self.budget, self)

    @property
    def explains_one_place(self) -> bool:
        """See the base."""
        return self.budget == 1

    @property
    def views(self) -> tuple[View, ...]:
        """The view that keeps one place per copy, and the view that keeps nothing."""
        return self.view(OneBox(self.budget)), self.view(Nothing())

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        alone, nothing = self.views
        scores = forward.scores(self.target, alone)
        change = scores - forward.scores(self.target, nothing).detach()
        return over_repeats(change, self.mask(forward, alone, scores))
