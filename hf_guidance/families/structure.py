"""Image classifiers of any other architecture: their layers are found, not listed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from hf_guidance.families.family import Family
from hf_guidance.families.places import inner, places_of

PIXELS = "pixel_values"


def takes_pixels(model: Any) -> bool:
    """Whether the model's forward has an argument ``pixel_values``, so that its input is an image."""
    forward = getattr(inner(model), "forward", None)
    return forward is not None and PIXELS in inspect.signature(forward).parameters


def structured(model: nn.Module, proposed: Sequence[str] = (), pooled_linear: str | None = None) -> Family:
    """A family whose layers are found when one is asked for; the input needs none.

    Args:
        model: The model; its forward takes ``pixel_values``.
        proposed: Module paths of stages, taken as layers if they have places.
        pooled_linear: As in Family; only if the last proposed stage is before it.
    """
    return Family(layers=places_of(model, proposed).layers, layouts={}, pooled_linear=pooled_linear)
