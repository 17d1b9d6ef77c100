"""Energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.objectives.objective import AttributionObjective

_UNDEFINED = 1e-7


@dataclass(frozen=True)
class Energy(AttributionObjective):
    """``L = 1 - sum(M * A⁺) / sum(A⁺)``: the share of positive attribution outside (arXiv 2303.11932, eq. 6).

    This is one minus the energy-based pointing game (EPG), on the raw map: the loss is scale invariant. Below
    ``sum(A⁺) = 1e-7`` the denominator is dropped, as in the released code; a map without positive entry has loss 1 and no
    gradient.

    Note:
        The paper's text leaves open whether the formula is -EPG or 1 - EPG; the gradient is the same. The released code has
        1 - EPG.

    Columns:
        importance: (rows, height, width) or (rows, objects) in [0, 1], any real dtype; compared with the attribution.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Boxes or other coarse masks of objects. The loss does not say how attribution is spread inside the mask, so in the
        paper it has the best EPG, stays on the object itself and is robust to coarse boxes; prefer L1 where IoU counts. A
        map without positive entry is not guided any more: watch ``undefined_share`` (docs/when-guidance-fails.md).

    Reference:
        Rao, Böhle, Parchami-Araghi and Schiele, "Studying How to Efficiently and Effectively Guide Models with
        Explanations" (first version: "Using Explanations to Guide Models"), ICCV 2023, arXiv 2303.11932, eq. 6.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import GradCAM
        >>> from hf_guidance.objectives import Energy
        >>> guidance = Guidance(energy=Energy(GradCAM(layer="final")))
        >>> Energy.loss(torch.tensor([[1.0, 3.0, -2.0]]), torch.tensor([[1.0, 0.0, 0.0]]))  # a map, its mask
        tensor([0.7500])
    """

    @staticmethod
    def loss(attribution: Tensor, importance: Tensor) -> Tensor:
        """Attribution (rows, n) raw, importance (rows, n) in [0, 1], to (rows,) in [0, 1]."""
        positive = attribution.clamp_min(0)
        inside = (positive * importance).sum(1)
        total = positive.sum(1)
        return 1 - inside / torch.where(total < _UNDEFINED, 1, total)
