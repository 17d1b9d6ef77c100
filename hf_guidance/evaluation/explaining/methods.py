"""The attribution that explains: the one given, or what suits the model."""

from __future__ import annotations

import logging
from typing import Any

import hf_guidance.attributions as attributions
from hf_guidance.attributions import (
    Attribution,
    BcosContribution,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LeaveOneOut,
)
from hf_guidance.families import Family
from hf_guidance.views import zeros

_logger = logging.getLogger(__name__)


def method_of(attribution: Any, family: Family) -> Attribution:
    """The attribution given, by its name or as it is; or the default of the model.

    Args:
        attribution: An attribution, the name of one of this library's ("GradCAM"), or None.
        family: Of the model.

    Raises:
        ValueError: It is no attribution, or of an unknown name.
    """
    if attribution is None:
        return default_method(family)
    known = [name for name in attributions.__all__ if _is_method(getattr(attributions, name))]
    if isinstance(attribution, str):
        if attribution not in known:
            raise ValueError(f"attribution={attribution!r} is unknown; choose one of {known}, or give an attribution.")
        attribution = getattr(attributions, attribution)()
    if isinstance(attribution, type) or not hasattr(attribution, "needs"):
        raise ValueError(f"attribution={attribution!r}; give an attribution, as GradCAM(), or a name, one of {known}.")
    made: Attribution = attribution
    return made


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Attribution) and value is not Attribution


def default_method(family: Family) -> Attribution:
    """What suits the model: its own explanation where it has one.

    - nets with a map per class (B-cos): `BcosContribution` at the input, the explanation of arXiv 2205.10268;
    - nets known to have no biases (X-DNN): `IntegratedGradients`, exact by one gradient (arXiv 2111.07668);
    - models over boxes: `LeaveOneOut` with features of zeros, what the score loses without a box;
    - all others: `GradCAM` at the last layer with places; where there is none, `InputXGradient` at the input.

    Args:
        family: Of the model.
    """
    if not family.images:
        return LeaveOneOut(replace=zeros)
    if family.class_map is not None:
        return BcosContribution()
    if family.biases == ():
        return IntegratedGradients()
    method = GradCAM()
    try:
        family.layers[method.layer]
    except (KeyError, ValueError) as error:
        _logger.warning("no layer for GradCAM was found, InputXGradient at the input is taken instead: %s", error)
        return InputXGradient()
    return method
