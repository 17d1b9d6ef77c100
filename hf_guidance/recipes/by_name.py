"""A recipe by its name, as a command line gives it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hf_guidance import recipes
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance

_FOR_QUESTIONS = {f"{recipes.__name__}.{file}" for file in ("adversarial", "baselines", "hint", "scr", "visfis")}


def recipe_names() -> list[str]:
    """The recipes for questions over boxes, sorted."""
    return sorted(
        name for name in recipes.__all__ if getattr(getattr(recipes, name), "__module__", None) in _FOR_QUESTIONS
    )


def recipe_by_name(name: str, model_type: str, options: Mapping[str, Any] | None = None) -> Guidance:
    """Make the guidance of a recipe for questions.

    Args:
        name: One of ``recipe_names()``.
        model_type: "updn", "pythia", "san" or "lxmert"; handed to recipes that depend on the model, unless the options give
            it.
        options: Arguments of the recipe by name.

    Returns:
        The guidance.

    Raises:
        ValueError: Unknown name, or options that the recipe does not take.

    Example:
        >>> recipe_by_name("visfis", "updn", {"dataset": "gqa"})
    """
    check_choice("recipe", name, recipe_names())
    recipe, given = getattr(recipes, name), dict(options or {})
    known = inspect.signature(recipe).parameters
    if "model" in known:
        given = {"model": model_type} | given
    if unknown := sorted(given.keys() - known.keys()):
        raise ValueError(f"recipe {name!r} has no option {unknown[0]!r}; it has {list(known)}.")
    guidance: Guidance = recipe(**given)
    return guidance
