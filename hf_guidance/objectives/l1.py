"""L1."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_guidance.objectives.normalizations import Normalization, Positive
from hf_guidance.objectives.objective import AttributionObjective


@dataclass(frozen=True)
class L1(AttributionObjective):
    """``L = mean |M - Â⁺|`` over all entries, Â⁺ = A⁺ / max A⁺ (arXiv 2303.11932, eq. 3; GRADIA).

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Masks that the map should fill evenly: in the paper L1 has the best IoU. It also pulls attribution onto the background
        inside a box, and gets worse as boxes get coarser; prefer Energy for coarse boxes and for EPG.

    Reference:
        Rao, Böhle, Parchami-Araghi and Schiele, "Studying How to Efficiently and Effectively Guide Models with
        Explanations" (first version: "Using Explanations to Guide Models"), ICCV 2023, arXiv 2303.11932, eq. 3.
        Introduced by Gao, Sun, Zhao and Hong, "Aligning Eyes between Humans and Deep Neural Network through Interactive
        Attention Alignment" (GRADIA), ACM HCI 2022.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import InputXGradient
        >>> from hf_guidance.objectives import L1
        >>> guidance = Guidance(l1=L1(InputXGradient(layer="final")))
        >>> L1.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]]))  # normalised map, mask
        tensor([0.2500])
    """

    normalization: Normalization = field(default_factory=Positive)

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) in [0, 1], importance (rows, n) in [0, 1], to (rows,) in [0, 1]."""
        return (attribution - importance.to(torch.promote_types(importance.dtype, attribution.dtype))).abs().mean(1)
