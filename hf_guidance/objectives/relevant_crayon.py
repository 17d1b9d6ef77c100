"""RelevantCRAYON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hf_guidance.data.columns import YES
from hf_guidance.objectives.saved_map import SavedMapObjective


@dataclass(frozen=True)
class RelevantCRAYON(SavedMapObjective):
    """``L = sum(M' * (1 - M))`` where the answer about the original model's map M is "yes" (arXiv 2410.22312, eq. 1).

    M' is the map of the model in training; both are ``t(A) = (A⁺ + 1e-10) / max(A⁺ + 1e-10)``. With ``normalize="mass"``
    ``L = sum(M' * (1 - M)) / sum(1 - M)``, 0 where the divisor is 0. The map stays where the original one was high.

    Columns:
        saved_map: (rows, height, width), the original model's map M, >= 0, any real dtype.
        answer: list of one per explained row: 1 "yes", 0 "no", -1 unanswered; those with YES count.
        target: (rows,) int64, the explained class; read by the attribution's default target, ``LabelLogit``.

    When to use:
        Answers yes or no about a trained model's maps, beside IrrelevantCRAYON: it keeps what the model looks at right, so that
        the model does not forget it while wrong maps are corrected. Where masks of the objects are to be had, Energy and L1
        say more.

    Reference:
        Lee, Payani and Chau, "Effective Guidance for Model Attention with Simple Yes-no Annotations" (CRAYON), IEEE BigData
        2024, arXiv 2410.22312, eq. 1 and 4. The form by mass is that of its released code for Waterbirds.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.attributions import GradCAM
        >>> from hf_guidance.objectives import RelevantCRAYON
        >>> guidance = Guidance(relevant=RelevantCRAYON(GradCAM(layer="final")))
        >>> RelevantCRAYON.loss(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.25]]))  # M', M
        tensor([0.3750])
    """

    answer: ClassVar[int] = YES

    @staticmethod
    def beside(saved: Tensor) -> Tensor:
        """RelevantCRAYON weighs every place of M' by 1 - M."""
        return 1 - saved
