"""ERM: trained on as before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting


class _Run(MethodRun):
    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        loss = step.cross_entropy().mean()
        return loss, {"task": loss}


@dataclass(frozen=True)
class ERM(Method):
    """Empirical risk minimisation: ``L = mean_n CE(f(x_n), y_n)``, the model trained on for more epochs.

    When to use:
        The control of every other method: what training on, alone, does to the model.

    Reference:
        "Effective Guidance for Model Attention with Simple Yes-no Annotations" (CRAYON), the compared method of that name.

    Example:
        >>> from hf_guidance.training.baselines import ERM
        >>> method = ERM()
    """

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Nothing is kept."""
        return _Run()
