"""What a Forward must know of targets and of attributions, which later rooms define; so the step is of any type here."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from torch import Tensor


class ExplainedScore(Protocol):
    """The interface of a target: the explained score, and its derivative in the logits, called class weights.

    Attributes:
        linear: Whether the class weights are constants.
    """

    linear: ClassVar[bool]

    def __call__(self, logits: Tensor, forward: Any, /) -> Tensor:
        """Class weights (rows, classes) of the logits of the explained rows."""

    def of_rows(self, logits: Tensor, forward: Any, /) -> Tensor:
        """Scores (copies, rows) of the model's logits, (copies, images, classes) or (copies, images, times, classes)."""


class AttributionMethod(Protocol):
    """The interface of an attribution: called with a Forward, it returns one map per explained row."""

    def __call__(self, forward: Any, /) -> Tensor:
        """Maps (rows, *space)."""
