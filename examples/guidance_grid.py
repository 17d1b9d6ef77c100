"""The grid of run_model_guidance.py: its axes, its cells, and what is wrong with them before anything is trained."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from guided_classifiers import AXES, CONFIGS, Classifiers, read_json

from hf_guidance import Guidance, family_of, recipes
from hf_guidance.recipes.model_guidance import WEIGHTS

UNGUIDED = ("baseline", "unguided")
PLAIN = {"fraction": 1.0, "dilation": 0.0, "moved": 0}


@dataclass
class GridArguments:
    output_dir: str = "runs/model_guidance"
    models: list[str] = field(
        default_factory=lambda: ["vanilla", "xdnn", "bcos"], metadata={"help": "vanilla, xdnn, bcos."}
    )
    attributions: list[str] = field(
        default_factory=lambda: ["paper"], metadata={"help": "paper, ixg, intgrad, gradcam, bcos."}
    )
    layers: list[str] = field(
        default_factory=lambda: ["input", "final"], metadata={"help": "input, mid1 to mid3, final."}
    )
    losses: list[str] = field(default_factory=lambda: list(WEIGHTS), metadata={"help": "energy, l1, ppce, rrr."})
    weights: str = field(
        default="{}", metadata={"help": "JSON: loss to its weights; the recipe's three where none are."}
    )
    fractions: list[float] = field(default_factory=lambda: [1.0], metadata={"help": "Shares of images with boxes."})
    dilations: list[float] = field(default_factory=lambda: [0.0], metadata={"help": "Growth of training boxes a side."})
    moved: list[int] = field(default_factory=lambda: [0], metadata={"help": "1: boxes at random places, the control."})
    seeds: list[int] = field(default_factory=lambda: [0])
    grids: str = field(default="[]", metadata={"help": "JSON: more grids, each the axes that differ from these."})
    baseline_epochs: int = 20
    baseline_learning_rate: float = 1e-3
    baseline_learning_rates: str = field(default="{}", metadata={"help": "JSON: model to a rate of its own."})
    epochs: int = 10
    learning_rate: float = 1e-4
    max_drop: float = field(default=0.05, metadata={"help": "F1 that the representative may lose on validation."})


def cells_of(options: GridArguments) -> list[dict[str, Any]]:
    """Every cell once, seed by seed; a baseline for each attribution and layer comes before those that it is compared with."""
    given: dict[str, Any] = {"models": options.models, "attributions": options.attributions, "layers": options.layers,
                             "losses": options.losses, "fractions": options.fractions, "dilations": options.dilations,
                             "moved": options.moved, "weights": read_json(options.weights)}  # fmt: skip
    found: dict[tuple[Any, ...], None] = {}
    for seed, more in itertools.product(options.seeds, [{}, *read_json(options.grids)]):
        if unknown := sorted(set(more) - set(given)):
            raise ValueError(f"grids: {unknown[0]!r} is no axis; choose among {sorted(given)}.")
        axes = given | more
        _check_axes(axes)
        for model, attribution, layer in itertools.product(axes["models"], axes["attributions"], axes["layers"]):
            found[(model, attribution, layer, "baseline", 0.0, 1.0, 0.0, 0, seed)] = None
            for loss, *rest in itertools.product(axes["losses"], axes["fractions"], axes["dilations"], axes["moved"]):
                weights = (0.0,) if loss == "unguided" else axes["weights"].get(loss, WEIGHTS[loss])
                for weight in weights:
                    found[(model, attribution, layer, loss, weight, *rest, seed)] = None
    return [dict(zip(AXES, values, strict=True)) for values in found]


def guidance_of(cell: dict[str, Any]) -> Guidance:
    """The guidance of a cell; of an unguided one, what it is measured by."""
    chosen = None if cell["attribution"] == "paper" else cell["attribution"]
    guided = cell["loss"] not in UNGUIDED
    loss, weight = (cell["loss"], cell["weight"]) if guided else ("energy", 1.0)
    return recipes.model_guidance(loss, cell["model"], chosen, cell["layer"], weight, cell["fraction"])


def _check_axes(axes: dict[str, Any]) -> None:
    """Names and numbers that need neither data nor models to be wrong."""
    names = {"models": tuple(CONFIGS), "losses": (*WEIGHTS, "unguided"), "moved": (0, 1)}
    for axis, values in axes.items():
        if axis != "weights" and (not isinstance(values, list | tuple) or not values):
            raise ValueError(f"{axis}={values!r}; give a list of at least one value.")
        if wrong := [value for value in values if axis in names and value not in names[axis]]:
            raise ValueError(f"{axis}: {wrong[0]!r} is unknown; choose among {list(names[axis])}.")
    for loss, weights in axes["weights"].items():
        if loss not in WEIGHTS or not isinstance(weights, list | tuple) or not weights:
            raise ValueError(f"weights: {loss}: {weights!r}; give a list of weights for each of {list(WEIGHTS)}.")
    if wrong := [value for value in axes["dilations"] if value < 0]:
        raise ValueError(f"dilations: {wrong[0]} is negative; give shares of a box, as 0.25.")


def check(cells: list[dict[str, Any]], options: GridArguments, classifiers: Classifiers) -> None:
    """Refuse what would end the grid in the middle, or would be ignored.

    Raises:
        ValueError: A layer or an attribution that a model does not have, a share that annotates no row, options of an
            unknown model.
    """
    data = classifiers.data
    if not 0 < data.crop <= 1:
        raise ValueError(f"crop={data.crop} is no share of an image; give one in (0, 1], 1 for no crops.")
    for name, value in (("baseline_learning_rates", options.baseline_learning_rates),
                        ("model_options", data.model_options), ("pretrained", data.pretrained)):  # fmt: skip
        if unknown := sorted(set(read_json(value)) - set(CONFIGS)):
            raise ValueError(f"{name}: {unknown[0]!r} is no model; choose among {list(CONFIGS)}.")
    families: dict[str, Any] = {}
    rows = len(classifiers.splits["train"])
    for cell in cells:
        guidance_of(cell)
        if int(cell["fraction"] * rows) < 1:
            raise ValueError(
                f"fractions: {cell['fraction']} of {rows} training rows annotates none; give a larger share."
            )
        if cell["model"] not in families:
            model = classifiers.new_model(cell["model"])
            families[cell["model"]] = model, family_of(model)
        model, family = families[cell["model"]]
        if cell["layer"] != "input":
            family.path(cell["layer"], model)
