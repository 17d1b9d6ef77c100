"""Checks of fields that several objectives have, and of which explained rows have (un)important places."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from hf_guidance.forward import Forward

VARIANTS = ("paper", "official")
FORMS = ("softmax", "sigmoid")


def check_threshold(owner: object) -> None:
    """Raise a ValueError if ``owner.threshold`` is not a number in [0, 1]."""
    value = getattr(owner, "threshold")  # noqa: B009
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError(
            f"{type(owner).__name__}(threshold={value!r}) is outside [0, 1], the range of the importance; arXiv 2206.11212 "
            "uses 0.85 for CLEVR-XAI, 0.55 for VQA-HAT and 0.3 for GQA."
        )


def has_important(forward: Forward, column: str, threshold: float) -> Tensor:
    """(rows,) bool: whether some place of the explained row has ``importance > threshold``."""
    return (forward.importance(column).flatten(1) > threshold).any(1)


def has_unimportant(forward: Forward, column: str, threshold: float) -> Tensor:
    """(rows,) bool: whether some place of the explained row has ``importance <= threshold``."""
    return (forward.importance(column).flatten(1) <= threshold).any(1)


def is_weight(value: Any) -> bool:
    """Whether a field is a finite number >= 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0
