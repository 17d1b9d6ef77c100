"""Random supervision: the control of every guidance."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from hf_guidance.guidance import Guidance
from hf_guidance.objectives import AnswerLoss

RANDOM_IMPORTANCE = "random_importance"
"""Column with one fixed uniform vector per question, which QuestionCollator makes."""


def random_supervision(guidance: Guidance, column: str = RANDOM_IMPORTANCE) -> Guidance:
    """The control of a guidance: the same terms, told a fixed random importance (arXiv 2206.11212, section 7.2).

    Objectives, views and Replace functions read ``column`` wherever they read ``importance``. Rows count as before where
    the column ``annotated`` decides; which rows have an important box is up to the random vector.

    Args:
        guidance: What is to be controlled for.
        column: The random column.

    Raises:
        ValueError: The guidance reads no importance.

    Example:
        >>> control = random_supervision(visfis("updn", "gqa"))
    """
    moved = {name: _with_column(term, column) for name, term in guidance.items()}
    if all(moved[name] == term for name, term in guidance.items()):
        raise ValueError(
            "random_supervision(guidance): no term reads the column 'importance'; there is nothing to control."
        )
    return Guidance(moved)


def _with_column(value: Any, column: str) -> Any:
    if isinstance(value, AnswerLoss) and value.threshold is None:
        return value  # names a column, and reads none
    if isinstance(value, tuple):
        return tuple(_with_column(item, column) for item in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for entry in fields(value):
        old = getattr(value, entry.name)
        reads = entry.name in ("importance", "column") and old == "importance"
        changed[entry.name] = column if reads else _with_column(old, column)
    return replace(value, **changed)
