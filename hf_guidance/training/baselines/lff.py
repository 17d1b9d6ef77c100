"""LfF: a biased model is trained beside the model, and tells by its failures which rows are hard."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_guidance.training.baselines.generalised_cross_entropy import generalised_cross_entropy
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting

_BIASED = "biased"


class _Run(MethodRun):
    def __init__(self, method: LfF, biased: nn.Module, saved: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__()
        self._method, self.models = method, {_BIASED: biased}
        self._state = {name: value.to(device) for name, value in saved.items()}

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        of_biased, labels = step.scored(self.models[_BIASED])
        losses = F.cross_entropy(of_biased.detach(), labels, reduction="none"), step.cross_entropy()
        weight = self._weights(step.index, labels, losses[0], losses[1].detach())
        generalised = generalised_cross_entropy(of_biased, labels, self._method.q).mean()
        task = (losses[1] * weight).mean()
        return task + generalised, {"task": task, "biased": generalised, "weight": weight.mean()}

    def _weights(self, index: Tensor, labels: Tensor, of_biased: Tensor, of_main: Tensor) -> Tensor:
        state, alpha = self._state, self._method.alpha
        for name, losses in (("of_biased", of_biased), ("of_main", of_main)):
            state[name] = averaged(state[name], state["classes"], index, losses, alpha)
        state["classes"] = state["classes"].index_put((index,), labels)
        return relative_difficulty(state["of_biased"], state["of_main"], state["classes"], index).to(of_main.dtype)

    def state(self) -> dict[str, Tensor]:
        return self._state


@dataclass(frozen=True)
class LfF(Method):
    """Learning from failure: ``L = mean w CE(f(x), y) + mean q p_y^q CE(g(x), y)`` of the model f and a biased model g.

    ``w = l_g / (l_g + l_f + 1e-8)``. l is the running average of a row's cross-entropy (new value: ``alpha l + (1 - alpha)
    CE``, the CE itself at the first sight), divided by the highest average of the row's class. No gradient goes through w.

    Args:
        q: Of the biased model's loss, above 0; 0.7 in the official code.
        alpha: Of the running averages, in [0, 1); 0.7 in the official code.
        biased: The biased model at its start, of the trained model's architecture; a copy of that model when None, as in the
            comparison of CRAYON, where both begin as the Original. The official code begins with two new models.

    Raises:
        ValueError: ``q`` not above 0, ``alpha`` outside [0, 1).

    When to use:
        Nothing is known of the shortcut but that it is easier than the task, and most rows have it.

    Reference:
        Nam et al., "Learning from Failure: Training Debiased Classifier from Biased Classifier", NeurIPS 2020, arXiv
        2007.02561, algorithm 1; alinlab/LfF@e66796e.

    Example:
        >>> from hf_guidance.training.baselines import LfF
        >>> method = LfF(q=0.7)
    """

    several_processes: ClassVar[bool] = False  # each would have averages and a biased model of its own

    q: float = 0.7
    alpha: float = 0.7
    biased: nn.Module | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.q > 0:
            raise ValueError(f"LfF(q={self.q}): give a number above 0, such as 0.7.")
        if not 0 <= self.alpha < 1:
            raise ValueError(f"LfF(alpha={self.alpha}) is outside [0, 1); give for example 0.7.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """No row was seen, or those of the checkpoint."""
        if saved is None:
            zeros = torch.zeros(len(setting))
            saved = {"of_biased": zeros, "of_main": zeros, "classes": torch.full((len(setting),), -1)}
        given = setting.main.model if self.biased is None else self.biased
        return _Run(self, copy.deepcopy(given), saved, setting.device)


def averaged(averages: Tensor, classes: Tensor, index: Tensor, losses: Tensor, alpha: float) -> Tensor:
    """Running averages after a batch.

    Args:
        averages: (rows,) floats, 0 for rows that were not seen.
        classes: (rows,) int64, the class of each row, -1 for those that were not seen.
        index: (images,) int64, the row of each image.
        losses: (images,) floats.
        alpha: Share of the old average.

    Returns:
        (rows,) floats.
    """
    share = 1 - alpha * (classes[index] >= 0).to(averages.dtype)
    return averages.index_put((index,), (alpha * averages[index] + share * losses).to(averages.dtype))


def relative_difficulty(of_biased: Tensor, of_main: Tensor, classes: Tensor, index: Tensor) -> Tensor:
    """The weights of a batch, in [0, 1]: high where the biased model fails and the other does not.

    Args:
        of_biased: (rows,) floats, the averages of the biased model.
        of_main: Likewise of the other.
        classes: (rows,) int64, -1 for rows that were not seen.
        index: (images,) int64, the row of each image, all seen.

    Returns:
        (images,) floats; 0 where a whole class has no loss under the biased model.
    """
    scaled = []
    for averages in (of_biased, of_main):
        known = torch.where(classes < 0, torch.zeros_like(averages), averages)
        same = classes[index][:, None] == classes[None]
        most = torch.where(same, known[None], torch.zeros_like(known[None])).amax(1)
        scaled.append(averages[index] / most.clamp_min(torch.finfo(averages.dtype).tiny))
    return scaled[0] / (scaled[0] + scaled[1] + 1e-8)
