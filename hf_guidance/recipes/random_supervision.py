"""Random supervision: the control of every guidance."""

from __future__ import annotations

from hf_guidance.data.columns import RANDOM_IMPORTANCE
from hf_guidance.guidance import Guidance, with_importance


def random_supervision(guidance: Guidance, column: str = RANDOM_IMPORTANCE) -> Guidance:
    """The control of a guidance: the same terms with a fixed random importance (arXiv 2206.11212, section 7.2).

    Objectives, views and Replace functions read ``column`` wherever they read ``importance``. Explained rows count as
    before where the column ``annotated`` decides; which of them have an important box depends on the random vector.

    Args:
        guidance: The guidance to make a control for.
        column: Column with the random importance; QuestionCollator makes "random_importance".

    Raises:
        ValueError: The guidance reads no importance.

    Example:
        >>> control = random_supervision(visfis("updn", "gqa"))
    """
    moved = with_importance(guidance, column)
    if all(moved[name] == term for name, term in guidance.items()):
        raise ValueError(
            "random_supervision(guidance): no term reads the column 'importance'; there is nothing to control."
        )
    return moved
