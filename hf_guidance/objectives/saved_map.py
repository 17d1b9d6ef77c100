"""SavedMapObjective, the base of losses that compare a map with that of the model as it was before guidance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from hf_guidance.attributions import Attribution, GradCAM
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import ANSWER, SAVED_MAP
from hf_guidance.forward import Forward
from hf_guidance.objectives.normalizations import Normalization, OffsetMax
from hf_guidance.objectives.objective import AttributionObjective

_FORMS = ("none", "mass")


@dataclass(frozen=True)
class SavedMapObjective(AttributionObjective):
    """Base of losses between the map M' of the model in training and the map M of the original model, saved before.

    Both maps are normalised alike. A person has said of M whether it lies on the right thing; only explained rows with the
    answer of the class count. Where the two maps differ in size, as between architectures, one is resized: see ``grid``.

    Attributes:
        attribution: The method that makes M'; M must come of the same one.
        normalization: What is done to both maps.
        importance: Column with M, (rows, height, width), >= 0 in any unit.
        grid: "attribution" averages M onto the grid of M'; "importance" enlarges M' (bilinear) to that of M.
        normalize: "none" sums over the places, as in the paper; "mass" divides by the sum of the weights that stand beside M',
            as the released code does for Waterbirds. The weights of a recipe belong to one of the two.
        answer: The answer whose explained rows count, YES or NO; of the class.

    Raises:
        ValueError: Unknown ``normalize``, and as AttributionObjective.
    """

    answer: ClassVar[int]

    attribution: Attribution = field(default_factory=GradCAM)
    normalization: Normalization = field(default_factory=OffsetMax)
    importance: str = SAVED_MAP
    grid: str = "attribution"
    normalize: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("normalize", self.normalize, _FORMS, self)

    def rows(self, forward: Forward) -> Tensor:
        """One where the explained row is annotated and has this class's answer, else zero: (rows,) float."""
        answers = forward.column(ANSWER)
        if len(answers) != len(forward.row):
            raise ValueError(
                f"column {ANSWER!r} has {len(answers)} entries, the batch {len(forward.row)} explained rows; give one for each."
            )
        annotated = forward.annotated
        given = torch.as_tensor(answers, device=annotated.device) == self.answer
        return annotated * given

    def formula(self, attribution: Tensor, importance: Tensor) -> Tensor:
        """Normalise M as M' was, and divide by the mass if wanted."""
        saved = self.normalization(importance)
        loss = self.loss(attribution, saved)
        if self.normalize == "none":
            return loss
        mass = self.beside(saved).sum(1)
        # A map of zeros is one everywhere once it is normalised: 1 - M has no mass then, and 0 / 0 would spread as NaN.
        return loss / torch.where(mass > 0, mass, 1)

    @classmethod
    def loss(cls, attribution: Tensor, importance: Tensor) -> Tensor:
        """Normalised maps M' and M, (rows, n) each in [0, 1], to (rows,) in [0, n]."""
        return (attribution * cls.beside(importance)).sum(1)

    @staticmethod
    def beside(saved: Tensor) -> Tensor:
        """What stands beside M' in the sum, made from the normalised M: (rows, n) in [0, 1]."""
        raise NotImplementedError("a SavedMapObjective must define beside(saved).")
