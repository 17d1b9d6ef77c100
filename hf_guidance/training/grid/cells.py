"""The cells of a grid: a model x attribution x layer x loss x weight x fraction x dilation x control x seed each."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from hf_guidance.attributions import Attribution
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance
from hf_guidance.recipes.model_guidance import WEIGHTS, model_guidance
from hf_guidance.training.grid.arguments import GridArguments
from hf_guidance.training.grid.models import CONFIGS
from hf_guidance.training.grid.options import read_json, require

AXES = ("model", "attribution", "layer", "loss", "weight", "fraction", "dilation", "moved", "seed")
UNGUIDED = ("baseline", "unguided")
"""Losses of cells without guidance: not trained at all, and trained as long as the guided ones."""
PLAIN = {"fraction": 1.0, "dilation": 0.0, "moved": 0}
"""All boxes, as they are: what the runs with few, coarse or moved boxes are compared with."""
_KINDS = {"models": str, "attributions": str, "layers": str, "losses": str, "fractions": float, "dilations": float,
          "moved": int, "seeds": int}  # fmt: skip
_NAMES = {"models": tuple(CONFIGS), "losses": (*WEIGHTS, "unguided"), "moved": (0, 1)}


def cells_of(options: GridArguments) -> list[dict[str, Any]]:
    """List every cell of a grid once, seed by seed.

    Each attribution and layer of a model has a cell of loss "baseline", which comes before the cells that are compared with
    it, and an unguided loss has one cell, whatever the number and size of the boxes.

    Args:
        options: The axes, and more grids that differ in some of them.

    Returns:
        The cells; the names of each are ``AXES``.

    Raises:
        ValueError: An axis, a name or a number that cannot be right.
    """
    given: dict[str, Any] = {"models": options.models, "attributions": options.attributions, "layers": options.layers,
                             "losses": options.losses, "fractions": options.fractions, "dilations": options.dilations,
                             "moved": options.moved, "weights": read_json(options.weights)}  # fmt: skip
    found: dict[tuple[Any, ...], None] = {}  # as an ordered set
    _check_values("seeds", options.seeds)
    for seed, more in itertools.product(options.seeds, [{}, *read_json(options.grids)]):
        require("grids: an entry", more, dict)
        for axis in more:
            check_choice("grids: axis", axis, sorted(given))
        axes = given | more
        _check_axes(axes)
        found |= dict.fromkeys((*values, seed) for values in _combinations(axes))
    return [dict(zip(AXES, values, strict=True)) for values in found]


def _combinations(axes: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The values of the cells of one grid, without the seed."""
    for place in itertools.product(axes["models"], axes["attributions"], axes["layers"]):
        yield (*place, "baseline", 0.0, *PLAIN.values())
        for loss, *boxes in itertools.product(axes["losses"], axes["fractions"], axes["dilations"], axes["moved"]):
            if loss == "unguided":  # takes no boxes
                yield (*place, loss, 0.0, *PLAIN.values())
                continue
            fraction, dilation, moved = boxes
            for weight in axes["weights"].get(loss, WEIGHTS[loss]):
                # 1 is 1.0, also in the names of folders.
                yield (*place, loss, float(weight), float(fraction), float(dilation), int(moved))


def guidance_of(cell: Mapping[str, Any]) -> Guidance:
    """Make the guidance that a cell is trained with.

    Args:
        cell: A cell of ``cells_of``.

    Returns:
        One term on attributions; none for an unguided cell.

    Raises:
        ValueError: The model does not have the attribution, or the fraction is outside (0, 1].
    """
    return Guidance() if cell["loss"] in UNGUIDED else _recipe(cell, cell["loss"], cell["weight"])


def attribution_of(cell: Mapping[str, Any]) -> Attribution:
    """Make the attribution by which a cell is measured, guided by it or not.

    Args:
        cell: A cell of ``cells_of``.

    Raises:
        ValueError: The model does not have it.
    """
    term = next(iter(_recipe(cell, "energy", 1.0).on_attributions.values()))  # every loss has the same one
    return term.objective.attribution  # type: ignore[attr-defined, no-any-return]


def _recipe(cell: Mapping[str, Any], loss: str, weight: float) -> Guidance:
    chosen = None if cell["attribution"] == "paper" else cell["attribution"]
    return model_guidance(loss, cell["model"], chosen, cell["layer"], weight, cell["fraction"])


def _check_axes(axes: Mapping[str, Any]) -> None:
    """Names and numbers that need neither data nor models to be wrong."""
    for axis in [axis for axis in axes if axis != "weights"]:
        _check_values(axis, axes[axis])
    require("weights", axes["weights"], dict)
    for loss, weights in axes["weights"].items():
        if loss not in WEIGHTS or not isinstance(weights, list | tuple) or not weights:
            raise ValueError(f"weights: {loss}: {weights!r}; give a list of weights for each of {list(WEIGHTS)}.")
        for weight in weights:
            require(f"weights: {loss}", weight, float)


def _check_values(axis: str, values: Any) -> None:
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{axis}={values!r}; give a list of at least one value.")
    for value in values:
        require(axis, value, _KINDS[axis])
        if axis in _NAMES:
            check_choice(axis, value, _NAMES[axis])
        if axis in ("dilations", "seeds") and value < 0:
            raise ValueError(f"{axis}: {value} is negative; give 0 or more (dilations are shares of a box, as 0.25).")
