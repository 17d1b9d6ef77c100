"""A guidance of one term, made of the names of its parts, as a command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_guidance import attributions
from hf_guidance.attributions import Attribution
from hf_guidance.guidance.guidance import Guidance
from hf_guidance.guidance.serialization import from_plain, to_plain


def attribution_by_name(name: str, layer: str | None = None, options: Mapping[str, Any] | None = None) -> Attribution:
    """Make an attribution from the name of its class.

    Args:
        name: Class of ``hf_guidance.attributions``.
        layer: "input", "mid1" to "mid3", "final", or a module path; None for the method's own.
        options: More fields, as in guidance.json.

    Returns:
        The attribution.

    Raises:
        ValueError: No attribution has this name, or it has no such field.

    Example:
        >>> attribution_by_name("IntegratedGradients", "input", {"steps": 8})
    """
    if not issubclass(getattr(attributions, name, Attribution), Attribution):
        raise ValueError(f"{name!r} is no attribution; give the name of one, for example 'GradCAM'.")
    made: Attribution = from_plain(
        {"type": name} | ({"layer": layer} if layer else {}) | dict(options or {}), "attribution"
    )
    return made


def one_term(
    objective: str,
    attribution: Attribution,
    *,
    options: Mapping[str, Any] | None = None,
    weight: float = 1.0,
    reduction: str = "rows",
) -> Guidance:
    """Make a guidance of the task and one term on an attribution.

    Args:
        objective: Class of ``hf_guidance.objectives``; the term has its name in small letters.
        attribution: What the objective judges.
        options: More fields of the objective, as in guidance.json.
        weight: Factor of the term, >= 0.
        reduction: "batch", "rows" or "sum"; see Term.

    Returns:
        The guidance.

    Raises:
        ValueError: No objective has this name, or it has no such field.

    Example:
        >>> one_term("Energy", GradCAM(), weight=0.5)
    """
    fields = {"type": objective, "attribution": to_plain(attribution)} | dict(options or {})
    term = {"type": "Term", "objective": fields, "weight": weight, "reduction": reduction}
    return Guidance.from_dict({objective.lower(): term})
