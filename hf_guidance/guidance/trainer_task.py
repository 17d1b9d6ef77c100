"""TrainerTask: the task loss of a trainer that overrides ``GuidedTrainer.task_loss``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.objectives import Objective, TaskLoss
from hf_guidance.views import Needs


@dataclass(frozen=True)
class TrainerTask(Objective):
    """The method ``task_loss`` of a trainer as an Objective, so that guidance.json says whose loss it was.

    Args:
        trainer: Name of the class that overrides the method.
        given: The task of the Guidance, which ``super().task_loss(forward)`` computes. It says which views the method may
            read, and how much each image counts.

    Raises:
        ValueError: On call, no trainer has given its method; or the method did not return one number per image.
    """

    trainer: str = ""
    given: Objective = field(default_factory=TaskLoss)

    def of(self, method: Callable[[Forward], Tensor]) -> Self:
        """The same task, computed by a method from now on; the method is no part of guidance.json."""
        object.__setattr__(self, "_method", method)
        return self

    def needs(self) -> Needs:
        """What the task of the Guidance reads."""
        return self.given.needs()

    def rows(self, forward: Forward) -> Tensor:
        """How much the task of the Guidance counts each image."""
        return self.given.rows(forward)

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every image, (images,)."""
        method: Callable[[Forward], Tensor] | None = getattr(self, "_method", None)
        if method is None:
            raise ValueError(
                f"the task loss of this guidance is the method {self.trainer}.task_loss; train with that class, or give "
                "Guidance(task=...) an Objective."
            )
        values = method(forward)
        shape = tuple(getattr(values, "shape", ()))
        if not isinstance(values, Tensor) or shape != (forward.images,):
            raise ValueError(
                f"{self.trainer}.task_loss returned {type(values).__name__} of shape {shape}; return one loss per image, "
                f"({forward.images},): for example F.cross_entropy(..., reduction='none')."
            )
        return values
