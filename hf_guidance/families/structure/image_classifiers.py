"""Image classifiers of any other architecture: their layers are found, not listed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from hf_guidance.families.family import Family
from hf_guidance.families.structure.places import inner, places_of

PIXELS = "pixel_values"


def takes_pixels(model: Any) -> bool:
    """Whether the model's forward has an argument ``pixel_values``, so that its input is an image."""
    forward = getattr(inner(model), "forward", None)
    return forward is not None and PIXELS in inspect.signature(forward).parameters


def structured(model: nn.Module, proposed: Sequence[str] = ()) -> Family:
    """A family whose layers are found when one is asked for; the input needs none.

    Args:
        model: The model; its forward takes ``pixel_values``.
        proposed: Module paths of stages, taken as layers if they have places.
    """
    return Family(layers=places_of(model, proposed).layers, layouts={}, inputs=_inputs(model))


def _inputs(model: nn.Module) -> tuple[str, ...]:
    # All that the forward takes, as far as a batch has it; the trainer computes the loss itself, so labels are left out.
    given = inspect.signature(inner(model).forward).parameters.values()
    names = [
        argument.name for argument in given if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
    ]
    return tuple(name for name in names if "label" not in name and not name.startswith(("return_", "output_")))
