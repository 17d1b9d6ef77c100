"""IrrelevantCRAYON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hf_guidance.data.columns import NO
from hf_guidance.objectives.saved_map import SavedMapObjective


@dataclass(frozen=True)
class IrrelevantCRAYON(SavedMapObjective):
    """``L = sum(M' * M)`` where the answer about the original model's map M is "no" (arXiv 2410.22312, eq. 2).

    M' is the map of the model in training; both are ``t(A) = (A⁺ + 1e-10) / max(A⁺ + 1e-10)``. With ``normalize="mass"``
    ``L = sum(M' * M) / sum(M)``, 0 where the divisor is 0. The map leaves the places where the original one was high.

    Columns:
        saved_map: (rows, height, width), the original model's map M, >= 0, any real dtype.
        answer: list of one per explained row: 1 "yes", 0 "no", -1 unanswered; those with NO count.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Answers yes or no about a trained model's maps: it says where not to look, not where to look instead, so it needs the
        task loss and RelevantCRAYON beside it. Where masks of the objects are to be had, Energy and L1 say more.

    Reference:
        Lee, Payani and Chau, "Effective Guidance for Model Attention with Simple Yes-no Annotations" (CRAYON), IEEE BigData
        2024, arXiv 2410.22312, eq. 2 and 4. The form by mass is that of its released code for Waterbirds.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import GradCAM
        >>> from hf_guidance.objectives import IrrelevantCRAYON
        >>> guidance = Guidance(irrelevant=IrrelevantCRAYON(GradCAM(layer="final")))
        >>> IrrelevantCRAYON.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.25]]))  # M', M
        tensor([1.1250])
    """

    answer: ClassVar[int] = NO

    @staticmethod
    def beside(saved: Tensor) -> Tensor:
        """IrrelevantCRAYON weighs every place of M' by M."""
        return saved
