"""PPCE."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.objectives.normalizations import Normalization, Positive
from hf_guidance.objectives.objective import AttributionObjective

_CEILING = 100.0


@dataclass(frozen=True)
class PPCE(AttributionObjective):
    """``L = -sum(M * log Â⁺) / sum(M)``: per-pixel cross-entropy inside the mask (arXiv 2303.11932, eq. 4; HAICS).

    The logarithm is floored at -100, where the gradient is zero. Values of 50 and more are normal on signed maps.

    Note:
        An empty mask gives 0; the released code divides by zero there. The collator marks such explained rows as not
        annotated. As in the released code the slope is cut where ``Â(1 - Â) < 1e-12``, which interpolated maps reach by
        rounding.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Attribution should rise inside the mask and nothing is known of the places outside. Attribution outside is not
        penalised, so the loss does not keep a model from spurious features there; prefer Energy or L1 for that.

    Reference:
        Rao, Böhle, Parchami-Araghi and Schiele, "Studying How to Efficiently and Effectively Guide Models with
        Explanations" (first version: "Using Explanations to Guide Models"), ICCV 2023, arXiv 2303.11932, eq. 4.
        Introduced by Shen et al., "Human-AI Interactive and Continuous Sensemaking: A Case Study of Image Classification using
        Scribble Attention Maps" (HAICS), CHI 2021 Extended Abstracts.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import InputXGradient
        >>> from hf_guidance.objectives import PPCE
        >>> guidance = Guidance(ppce=PPCE(InputXGradient(layer="final")))
        >>> PPCE.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 1.0]]))  # normalised map, mask
        tensor([0.3466])
    """

    normalization: Normalization = field(default_factory=Positive)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) in [0, 1], importance (rows, n) in [0, 1], to (rows,) in [0, 100]."""
        positive = attribution > 0
        # The gradient of torch's cross-entropy cuts the slope of the log as the released code does: A (1 - A) >= 1e-12.
        inside = torch.where(positive, attribution, 1).clamp_max(1)
        entropy = F.binary_cross_entropy(inside, torch.ones_like(inside), reduction="none")
        mass = importance.sum(1)
        return (importance * torch.where(positive, entropy, _CEILING)).sum(1) / torch.where(mass > 0, mass, 1)
