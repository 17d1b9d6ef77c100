"""KernelSHAP."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.attributions.perturbation import Perturbation
from hf_guidance.common.checks import check_choice, check_count
from hf_guidance.forward import Forward
from hf_guidance.views import Coalitions, Nothing, View
from hf_guidance.views.coalitions import ONE_TELLS_NOTHING

_VARIANTS = ("paper", "official")
_RIDGE = 1e-3


@dataclass(frozen=True)
class KernelSHAP(Perturbation):
    """``A = (S'WS + 1e-3 I)^-1 S'W y`` with ``y_i = score(x_Si) - score(nothing)`` (arXiv 2206.11212, eq. 10).

    S holds the coalitions: which places stay in which copy. They are shared by the batch, so the system is solved once.
    W holds their weights: ``20 (d - 1) / (binom(d, k) k (d - k))`` for a coalition of k of d places, the Shapley kernel
    up to a factor, and ``full_weight`` for the full one, where the kernel is infinite. "Nothing" is the input with
    every place replaced. The small ridge is that of the authors' code.

    With the default ``full_weight`` the map is not additive: its sum is not ``score(x) - score(nothing)``. With
    ``full_weight=1e6`` it is, and over all coalitions (``samples >= 2 ** d - 1``) the map holds the Shapley values, up
    to the ridge.

    Args:
        layer: Where places are taken out.
        target: Which score is explained.
        replace: What stands in their place.
        samples: Coalitions, >= 2, all different, so at most as many as exist are called. Below the number of places only
            as many random places are explained; the others are always replaced (arXiv 2206.11212, app. D) and get 0.
        full_weight: Weight of the full coalition, > 0. The paper has "a large value", for example 1e6; None takes that
            of its code, 10 (5 below 10 coalitions).
        variant: "paper" lets no gradient through score(nothing), as the text says; "official" does, as the code.

    Raises:
        ValueError: Fewer than 2 samples, a full weight that is not above 0, or an unknown variant.

    Note:
        The authors' code mixes the explained rows of a batch here; this is the formula, for each explained row alone.

    Columns:
        target: (rows,) int64 in [0, classes), the explained class; read by the default target LabelLogit.
        importance: optional, (rows, *space) in [0, 1]; handed to the Replace function, whose default ignores it.

    When to use:
        Models over boxes, or a coarse convolutional layer such as "final" of an image model; Shapley values of few
        places. Costs a forward of ``samples`` copies of the batch and one of "nothing", and no gradient at activations.
        Under Alignment take at least one sample per place (docs/questions.md); prefer Gradient, which needs no further
        forward and did as well there.

    Reference:
        Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017, arXiv 1705.07874. In
        closed form: Ying, Hase and Bansal, "VisFIS: Visual Feature Importance Supervision with
        Right-for-the-Right-Reason Objectives", NeurIPS 2022, arXiv 2206.11212, eq. 8 and 10.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, explain_answer
        >>> from hf_guidance.attributions import KernelSHAP
        >>> from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
        >>> from hf_guidance.objectives import Alignment, AnswerLoss
        >>> guidance = Guidance(task=AnswerLoss(), align=Alignment(KernelSHAP(samples=15)))
        >>> question, features, boxes = "what is it", torch.rand(2, 8), [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
        >>> tokenizer = word_tokenizer([question])
        >>> model = UpDnForQuestionAnswering(UpDnConfig(len(tokenizer), visual_feat_dim=8, num_labels=3))
        >>> explain_answer(model, question, features, boxes, tokenizer, attribution=KernelSHAP()).box_scores.shape
        (2,)
    """

    samples: int = 16
    variant: str = "paper"
    full_weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("samples", self.samples, self, 2, ONE_TELLS_NOTHING)
        check_choice("variant", self.variant, _VARIANTS, self)
        if self.full_weight is not None and not 0 < self.full_weight < math.inf:
            raise ValueError(
                f"KernelSHAP(full_weight={self.full_weight!r}): give a number above 0, as 1e6, or None for the code's weight."
            )

    @property
    def views(self) -> tuple[View, ...]:
        """The coalitions, and the view that keeps nothing."""
        return self.view(Coalitions(self.samples)), self.view(Nothing())

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        coalitions, nothing = self.views
        scores = forward.scores(self.target, coalitions)
        null = forward.scores(self.target, nothing)
        keep = forward.keep(coalitions)[:, 0]
        # Solved in float64 on the CPU, where the coalitions were drawn, so that nothing waits for the accelerator.
        solution = shapley_solution(keep.flatten(1), self.full_weight).to(scores.dtype).to(scores.device)
        change = scores - (null.detach() if self.variant == "paper" else null)
        maps: Tensor = (solution @ change).T.unflatten(1, keep.shape[1:])
        return maps


def shapley_weights(sizes: Tensor, places: int, samples: int, full_weight: float | None = None) -> Tensor:
    """Weights of coalitions by their size, float64.

    Args:
        sizes: Number of places of each coalition.
        places: d, the number of places that take part.
        samples: Number of coalitions.
        full_weight: Weight of the full coalition; None is 10, below 10 samples 5.

    Returns:
        Weights of the shape of ``sizes``; 0 for the empty coalition.
    """
    table = [0.0]
    table += [20 * (places - 1) / (math.comb(places, k) * k * (places - k)) for k in range(1, places)]
    table.append((5.0 if samples < 10 else 10.0) if full_weight is None else full_weight)
    return torch.tensor(table, dtype=torch.float64)[sizes]


def shapley_solution(coalitions: Tensor, full_weight: float | None = None) -> Tensor:
    """``(S'WS + 1e-3 I)^-1 S'W``, (places, samples) float64, of coalitions (samples, places) bool.

    A place that no coalition holds does not count in d, and its attribution is zero.
    """
    s = coalitions.double()
    weights = shapley_weights(coalitions.sum(1), int(coalitions.any(0).sum()), len(s), full_weight)
    weighted = s.T * weights
    ridge = _RIDGE * torch.eye(s.shape[1], dtype=torch.float64, device=s.device)
    solution: Tensor = torch.linalg.solve(weighted @ s + ridge, weighted)
    return solution
