"""WeightSchedule: how the weight of a term changes while a model is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightSchedule:
    """A factor of a term's weight that goes in a line from one value to another, between two moments of the training.

    With t = optimizer steps taken / optimizer steps of the whole training, in [0, 1), the weight is ``weight * factor(t)``:

        factor(t) = first                                                t <= begin, where begin < end
                  = first + (last - first) (t - begin) / (end - begin)   begin < t < end
                  = last                                                 t >= end

    By default the weight grows from 0 over all of the training. ``WeightSchedule(end=0.2)`` reaches it after a fifth;
    ``WeightSchedule(begin=0.5, end=0.5)`` leaves the term out of the first half; ``WeightSchedule(first=1.0, last=0.0)`` lets
    guidance fade. At steps of factor 0 the term costs nothing. Evaluation has the whole weight, so that ``eval_loss`` can
    be compared from one time to another; so have steps outside of ``Trainer.train``.

    Args:
        begin: The share of training up to which the factor is ``first``, in [0, 1].
        end: The share from which it is ``last``, in [begin, 1].
        first: Factor at the begin, >= 0.
        last: Factor at the end, >= 0.

    Raises:
        ValueError: A value is outside of these ranges, or no number.

    Example:
        >>> from hf_guidance.attributions import GradCAM
        >>> from hf_guidance.objectives import Energy
        >>> grown = Term(Energy(GradCAM()), weight=10.0, schedule=WeightSchedule(end=0.2))
        >>> grown.weight * grown.schedule.factor(0.1)
        5.0
    """

    begin: float = 0.0
    end: float = 1.0
    first: float = 0.0
    last: float = 1.0

    def __post_init__(self) -> None:
        for name in ("begin", "end", "first", "last"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not (math.isfinite(value) and value >= 0)
            ):
                raise ValueError(f"WeightSchedule({name}={value!r}): give a finite number >= 0.")
        if not self.begin <= self.end <= 1:
            raise ValueError(
                f"WeightSchedule(begin={self.begin!r}, end={self.end!r}): give shares of the training with 0 <= begin <= end "
                "<= 1, such as end=0.2 for the first fifth."
            )

    @property
    def changes_every_step(self) -> bool:
        """Whether there is a stretch in which every step has another factor."""
        return self.begin < self.end and self.first != self.last

    def factor(self, progress: float) -> float:
        """The factor of a step.

        Args:
            progress: The share of the training that lies behind, in [0, 1].
        """
        if progress >= self.end:
            return float(self.last)
        if progress <= self.begin:
            return float(self.first)
        return self.first + (self.last - self.first) * (progress - self.begin) / (self.end - self.begin)
