"""QuadrantTaskLoss: the task of GRADIA."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.objectives.quadrant_weights import check_quadrant_weights, quadrant_weights
from hf_guidance.objectives.task_loss import TaskLoss


@dataclass(frozen=True)
class QuadrantTaskLoss(TaskLoss):
    """``L = w_q * TaskLoss``: the classification loss, weighted by the quadrant of the image (arXiv 2202.02838).

    Images that the first model got right for wrong reasons count less, so that their attention can change. As the term
    "task" it is summed over the images and divided by their number, not by their weights, as in the released code.

    Args:
        label_smoothing: As in TaskLoss.
        class_weights: As in TaskLoss.
        quadrant_weights: w of the quadrants unreasonable inaccurate, unreasonable accurate, reasonable inaccurate, and other
            (reasonable accurate, or not judged).

    Raises:
        ValueError: As in TaskLoss; or ``quadrant_weights`` are not four finite numbers >= 0, or all 0.

    Columns:
        labels: (images,) or (images, 1) integers in [0, classes), or (images, classes) in [0, 1], multi-hot.
        quadrant: (images,) integers from 0 to 3, as ``with_quadrants`` makes them.

    When to use:
        The term "task" beside GRADIA. Prefer TaskLoss otherwise.

    Reference:
        Gao, Sun, Zhao and Hong, "Aligning Eyes between Humans and Deep Neural Network through Interactive Attention
        Alignment", CSCW 2022, arXiv 2202.02838; weights: its released code.

    Example:
        >>> from hf_guidance import Guidance, Term
        >>> from hf_guidance.objectives import GRADIA, QuadrantTaskLoss
        >>> guidance = Guidance(task=QuadrantTaskLoss(), gradia=Term(GRADIA(), reduction="rows"))
    """

    quadrant_weights: tuple[float, ...] = (1.0, 0.4, 0.8, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = check_quadrant_weights("quadrant_weights", self.quadrant_weights, self)
        object.__setattr__(self, "quadrant_weights", weights)

    def __call__(self, forward: Forward) -> Tensor:
        """The weighted loss of every image, (images,)."""
        return super().__call__(forward) * quadrant_weights(forward, self.quadrant_weights, self)
