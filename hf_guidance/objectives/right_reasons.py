"""RightReasons (RRR*)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.objectives.normalizations import MaxAbs, Normalization
from hf_guidance.objectives.objective import AttributionObjective


@dataclass(frozen=True)
class RightReasons(AttributionObjective):
    """``L = sum((1 - M) * Â²)``, Â = A / max |A|: RRR* (arXiv 2303.11932, eq. 5; RRR: arXiv 1703.03717).

    The loss is a sum over pixels, so the right weight of its term depends on the size of the importance map. RRR itself
    penalises input gradients without normalisation: ``RightReasons(Gradient(channels="keep"), Identity())``.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        It is known which places must not count, and nothing should be asked of the map inside the mask. In the paper Energy
        reaches a better EPG and L1 a better IoU; prefer those where the mask also says where to look.

    Reference:
        Rao, Böhle, Parchami-Araghi and Schiele, "Studying How to Efficiently and Effectively Guide Models with
        Explanations" (first version: "Using Explanations to Guide Models"), ICCV 2023, arXiv 2303.11932, eq. 5.
        RRR: Ross, Hughes and Doshi-Velez, "Right for the Right Reasons: Training Differentiable Models by Constraining their
        Explanations", IJCAI 2017, arXiv 1703.03717.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.attributions import InputXGradient
        >>> from hf_guidance.objectives import RightReasons
        >>> guidance = Guidance(rrr=Term(RightReasons(InputXGradient(layer="input")), weight=1e-3))
        >>> RightReasons.loss(torch.tensor([[1.0, -0.5]]), torch.tensor([[1.0, 0.0]]))  # normalised map, mask
        tensor([0.2500])
    """

    normalization: Normalization = field(default_factory=MaxAbs)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        outside = 1 - importance.to(torch.promote_types(importance.dtype, attribution.dtype))
        return (outside * attribution.square()).sum(1)
