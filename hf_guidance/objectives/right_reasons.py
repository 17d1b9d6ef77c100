"""RightReasons (RRR*)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.objectives.checks import VARIANTS
from hf_guidance.objectives.normalizations import MaxAbs, Normalization
from hf_guidance.objectives.objective import AttributionObjective


@dataclass(frozen=True)
class RightReasons(AttributionObjective):
    """``L = sum((1 - M) * Â²)``, Â = A / max |A|: RRR* (arXiv 2303.11932, eq. 5; RRR: arXiv 1703.03717).

    The loss is a sum over pixels, so the right weight of its term depends on the size of the importance map. RRR itself
    penalises the input gradient of ``sum_k log p_k`` without normalisation (arXiv 1703.03717, eq. 1). That is
    ``RightReasons(Gradient(target=LogProbabilities(), channels="keep"), Identity())``, as ``recipes.rrr`` builds it.

    Note:
        Both classes of RRR's authors sum the cross-entropy and the penalty over a batch, and add ``|θ|²`` over all parameters,
        biases included. Their defaults differ: with autograd the two penalties have the weights 1e-4 and 1e-4 (a later version
        can divide by the sum of 1 - M and by the batch), in TensorFlow 1000 and 1e-3, each with the factor 1/2.

    Args:
        variant: "paper" weighs the squares by 1 - M. "official" squares (1 - M) A, as RRR's eq. 1 and the authors' class
            with autograd do; the same where M is 0 or 1. "tensorflow" is half of it, as in their class in TensorFlow.

    Raises:
        ValueError: Unknown variant.

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
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variant", self.variant, (*VARIANTS, "tensorflow"), self)

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """The sum of squares in the form that ``variant`` names."""
        if self.variant == "paper":
            return self.loss(attribution, importance)
        squares = ((1 - importance) * attribution).square().sum(1)
        return squares / 2 if self.variant == "tensorflow" else squares

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) signed, importance (rows, n) in [0, 1], to (rows,) >= 0."""
        outside = 1 - importance.to(torch.promote_types(importance.dtype, attribution.dtype))
        return (outside * attribution.square()).sum(1)
