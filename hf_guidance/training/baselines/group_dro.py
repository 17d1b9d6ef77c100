"""GroupDRO: the worst group counts most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.data import Sampler

from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.rows import WeightedSampler
from hf_guidance.training.baselines.setting import Setting

_COLUMN = "group"


class _Run(MethodRun):
    def __init__(self, method: GroupDRO, groups: Tensor, weights: Tensor, device: torch.device) -> None:
        super().__init__()
        self._method, counts = method, torch.bincount(groups)
        self._groups, self._weights = groups.to(device), weights.to(device)
        self._adjustment = method.adjustment / counts.sqrt().to(device)
        self._row_weights = 1.0 / counts[groups] if method.reweight else None

    def sampler(self, batch_size: int, seed: int) -> Sampler[int] | None:
        return None if self._row_weights is None else WeightedSampler(self._row_weights, seed)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        losses, groups = step.cross_entropy(), self._groups[step.index]
        loss, self._weights = robust_loss(losses, groups, self._weights, self._method.step_size, self._adjustment)
        worst = self._weights.max()
        return loss, {"task": losses.mean(), "largest_group_weight": worst}

    def state(self) -> dict[str, Tensor]:
        return {"group_weights": self._weights}


@dataclass(frozen=True)
class GroupDRO(Method):
    """Group distributionally robust optimisation: ``L = sum_g q_g L_g``, with ``q_g`` growing where the loss is high.

    ``L_g`` is the mean cross-entropy of the batch's rows of group g, 0 where it has none. Before every step
    ``q_g <- q_g exp(eta (L_g + C / sqrt(n_g)))``, normalised to sum 1, with ``n_g`` the rows of the group in the training set;
    q begins uniform, and no gradient goes through it.

    Args:
        step_size: eta, above 0; 0.01 in the official code.
        adjustment: C >= 0, the generalisation adjustment; 0 in the official code.
        reweight: Draw rows with replacement such that all groups are drawn alike, as the paper does.

    Raises:
        ValueError: ``step_size`` not above 0, or ``adjustment`` below 0. On training, rows without a group, or a group
            without rows.

    Columns:
        group: One integer >= 0 per row of the training set; 2 * label + place for Waterbirds.

    When to use:
        The upper bar: training rows with known groups. It takes strong weight decay or early stopping to differ from ERM on
        nets that fit all rows.

    Reference:
        Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, arXiv 1911.08731, algorithm 1;
        kohpangwei/group_DRO@cbbc1c5.

    Example:
        >>> from hf_guidance.training.baselines import GroupDRO
        >>> method = GroupDRO(step_size=0.01)
    """

    several_processes: ClassVar[bool] = False  # each would have a q of its own

    step_size: float = 0.01
    adjustment: float = 0.0
    reweight: bool = True

    def __post_init__(self) -> None:
        if not (self.step_size > 0 and math.isfinite(self.step_size)):
            raise ValueError(f"GroupDRO(step_size={self.step_size}): give a finite number above 0, such as 0.01.")
        if not (self.adjustment >= 0 and math.isfinite(self.adjustment)):
            raise ValueError(f"GroupDRO(adjustment={self.adjustment}): give a finite number >= 0.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Count the groups; q is uniform, or that of the checkpoint."""
        groups = setting.groups(_COLUMN, "GroupDRO")
        count = int(groups.max()) + 1
        weights = torch.full((count,), 1 / count) if saved is None else saved["group_weights"]
        if len(weights) != count:
            raise ValueError(
                f"GroupDRO: the checkpoint has {len(weights)} groups, the training set {count}; resume with the rows of the "
                "first run."
            )
        return _Run(self, groups, weights, setting.device)


def robust_loss(
    losses: Tensor, groups: Tensor, weights: Tensor, step_size: float, adjustment: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """The robust loss of a batch, and the weights of the groups after it.

    Args:
        losses: (images,) floats.
        groups: (images,) int64 in [0, groups).
        weights: (groups,) floats that sum to 1, before the step.
        step_size: eta.
        adjustment: (groups,) what is added to the losses of the groups, or one number.

    Returns:
        The loss, a scalar of the dtype of ``losses``; (groups,) the new weights, of their own dtype.
    """
    ones = torch.zeros(len(losses), len(weights), dtype=losses.dtype, device=losses.device)
    ones[torch.arange(len(losses), device=losses.device), groups] = 1
    of_groups = (ones * losses[:, None]).sum(0) / ones.sum(0).clamp_min(1)
    grown = weights * torch.exp(step_size * (of_groups.detach().to(weights.dtype) + adjustment))
    grown = grown / grown.sum()
    return (of_groups * grown.to(losses.dtype)).sum(), grown
