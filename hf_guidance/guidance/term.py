"""Term: an objective and how it enters the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hf_guidance.common.checks import check_choice
from hf_guidance.guidance.weight_schedule import WeightSchedule
from hf_guidance.objectives import Objective

_REDUCTIONS = ("batch", "rows", "sum")


@dataclass(frozen=True)
class Term:
    """An objective and how it enters the loss: ``weight * reduce_r(rows_r * loss_r)``.

    Args:
        objective: The formula, with one value per explained row.
        weight: Factor of the reduced formula, >= 0.
        reduction: "batch" divides the sum by the number of images in the batch and stays exact under gradient accumulation
            and data parallelism. "rows" divides by the explained rows that count: a mean over the annotated rows in the
            batch of this device. "sum" does not divide, as the code of arXiv 2303.11932: ``weight_rows = weight_sum * mean
            number of annotated rows in a batch``.
        schedule: How the weight changes during training; None: it does not.

    Raises:
        ValueError: Negative or non-finite weight, unknown reduction, an ``objective`` that is not an Objective, or a
            ``schedule`` that is not a WeightSchedule.
    """

    objective: Objective
    weight: float = 1.0
    reduction: str = "batch"
    schedule: WeightSchedule | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise ValueError(f"Term(objective={self.objective!r}): give an Objective, for example Energy(GradCAM()).")
        if not isinstance(self.weight, int | float) or not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"Term(weight={self.weight!r}): give a finite weight >= 0.")
        check_choice("reduction", self.reduction, _REDUCTIONS, self)
        if not isinstance(self.schedule, WeightSchedule | None):
            raise ValueError(
                f"Term(schedule={self.schedule!r}): give a WeightSchedule, or None for a weight that stays."
            )
