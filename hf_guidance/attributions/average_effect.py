"""AverageEffect."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.attributions.perturbation import Perturbation
from hf_guidance.common.checks import check_count
from hf_guidance.forward import Forward
from hf_guidance.views import Coalitions, Flip, View
from hf_guidance.views.coalitions import ONE_TELLS_NOTHING


@dataclass(frozen=True)
class AverageEffect(Perturbation):
    """``A_j = mean score with place j - mean score without it``, over coalitions (arXiv 2206.11212, eq. 9).

    A_j is 0 where every coalition holds j, or none does. The coalitions are drawn as for KernelSHAP and shared by the
    batch. With two samples they are a random coalition and the same with one place flipped, so only that place is
    explained.

    Args:
        layer: Where places are taken out.
        target: Which score is explained.
        replace: What stands in their place.
        samples: Coalitions, >= 2. Below the number of places only as many random places are explained, the others are
            0.

    Raises:
        ValueError: Fewer than 2 samples.

    Note:
        The authors' code mixes the explained rows of a batch here; this is the formula, for each explained row alone.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.
        importance: optional, (rows, *space) in [0, 1]; handed to the Replace function, whose default ignores it.

    When to use:
        Models over boxes, or a coarse convolutional layer such as "final" of an image model. Costs a forward of
        ``samples`` copies of the batch and no gradient at activations; no score is held constant, so Alignment trains
        well with it, though not with two samples. Prefer KernelSHAP for Shapley values; under Alignment both did
        equally well (docs/questions.md).

    Reference:
        Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with Right-for-the-Right-Reason
        Objectives", NeurIPS 2022, arXiv 2206.11212, eq. 9 and app. A.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, explain_answer
        >>> from hf_guidance.attributions import AverageEffect
        >>> from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
        >>> from hf_guidance.objectives import Alignment, AnswerLoss
        >>> guidance = Guidance(task=AnswerLoss(), align=Alignment(AverageEffect(samples=15)))
        >>> question, features, boxes = "what is it", torch.rand(2, 8), [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
        >>> tokenizer = word_tokenizer([question])
        >>> model = UpDnForQuestionAnswering(UpDnConfig(len(tokenizer), visual_feat_dim=8, num_labels=3))
        >>> explain_answer(model, question, features, boxes, tokenizer, attribution=AverageEffect()).box_scores.shape
        (2,)
    """

    samples: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("samples", self.samples, self, 2, ONE_TELLS_NOTHING)

    @property
    def explains_one_place(self) -> bool:
        """See the base."""
        return self.samples == 2

    @property
    def views(self) -> tuple[View, ...]:
        """The coalitions."""
        return (self.view(Flip() if self.samples == 2 else Coalitions(self.samples)),)

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        (view,) = self.views
        scores = forward.scores(self.target, view)
        mask = self.mask(forward, view, scores)[:, 0]
        inside = mask.flatten(1).T
        outside = 1 - inside
        with_, without = (side.sum(1, keepdim=True) for side in (inside, outside))
        contrast = inside / with_.clamp_min(1) - outside / without.clamp_min(1)
        contrast = contrast * ((with_ > 0) & (without > 0))
        maps: Tensor = (contrast @ scores).T.unflatten(1, mask.shape[1:])
        return maps
