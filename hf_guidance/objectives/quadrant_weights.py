"""Weights by the quadrant of an image: what people and labels said of the first model there (data/images/quadrants.py)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hf_guidance.data.columns import QUADRANT
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision

COUNT = 4


def check_quadrant_weights(name: str, weights: Any, owner: object) -> tuple[float, ...]:
    """The weights as a tuple.

    Args:
        name: Name of the field.
        weights: One number per quadrant.
        owner: The object whose field it is.

    Raises:
        ValueError: Not four finite numbers >= 0, or none above 0.
    """
    given = tuple(weights) if isinstance(weights, tuple | list) else ()
    numbers = all(isinstance(w, int | float) and math.isfinite(w) and w >= 0 for w in given)
    if len(given) != COUNT or not numbers or not any(given):
        raise ValueError(
            f"{type(owner).__name__}({name}={weights!r}): give four finite numbers >= 0, not all 0: of unreasonable inaccurate "
            "images, unreasonable accurate, reasonable inaccurate and others, as (1.0, 1.6, 0.2, 0.0)."
        )
    return given


def quadrant_weights(forward: Forward, weights: tuple[float, ...], owner: object) -> Tensor:
    """The weight of every image of a batch, (images,) float32 or more.

    Args:
        forward: The step.
        weights: One number per quadrant.
        owner: The objective that asks, for the error.

    Raises:
        ValueError: The batch has no column ``quadrant``.
    """
    if QUADRANT not in forward.batch:
        raise ValueError(
            f"the batch has no column {QUADRANT!r}, by which {type(owner).__name__} weighs images: add it to every data set, "
            "also that of evaluation, with hf_guidance.data.with_quadrants."
        )
    numbers = full_precision(forward.logits()).new_tensor(weights)
    return numbers[torch.as_tensor(forward.batch[QUADRANT], device=numbers.device).long()]
