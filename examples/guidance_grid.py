"""The grid of run_model_guidance.py: its axes, its cells, and what is wrong with them before anything is trained."""

import inspect
import itertools
from dataclasses import dataclass, field
from typing import Any

from guidance_options import read_json, require
from guided_classifiers import AXES, COLUMNS, CONFIGS, Classifiers
from transformers import PreTrainedConfig

from hf_guidance import Guidance, annotated_indices, family_of, recipes
from hf_guidance.data.annotated import filled_rows
from hf_guidance.recipes.model_guidance import WEIGHTS

UNGUIDED = ("baseline", "unguided")
KINDS = {"models": str, "attributions": str, "layers": str, "losses": str, "fractions": float, "dilations": float,
         "moved": int, "seeds": int}  # fmt: skip
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
    _check_values("seeds", options.seeds)
    for seed, more in itertools.product(options.seeds, [{}, *read_json(options.grids)]):
        require("grids: an entry", more, dict)
        if unknown := sorted(set(more) - set(given)):
            raise ValueError(f"grids: {unknown[0]!r} is no axis; choose among {sorted(given)}.")
        axes = given | more
        _check_axes(axes)
        for model, attribution, layer in itertools.product(axes["models"], axes["attributions"], axes["layers"]):
            found[(model, attribution, layer, "baseline", 0.0, 1.0, 0.0, 0, seed)] = None
            for loss, *rest in itertools.product(axes["losses"], axes["fractions"], axes["dilations"], axes["moved"]):
                none = loss == "unguided"  # takes no boxes: one run, whatever their number and size
                weights = (0.0,) if none else axes["weights"].get(loss, WEIGHTS[loss])
                fraction, dilation, moved = PLAIN.values() if none else rest
                for weight in weights:  # 1 is 1.0, also in the names of folders
                    cell = (loss, float(weight), float(fraction), float(dilation), int(moved), seed)
                    found[(model, attribution, layer, *cell)] = None
    return [dict(zip(AXES, values, strict=True)) for values in found]


def guidance_of(cell: dict[str, Any]) -> Guidance:
    """The guidance of a cell; of an unguided one, what it is measured by."""
    chosen = None if cell["attribution"] == "paper" else cell["attribution"]
    guided = cell["loss"] not in UNGUIDED
    loss, weight = (cell["loss"], cell["weight"]) if guided else ("energy", 1.0)
    return recipes.model_guidance(loss, cell["model"], chosen, cell["layer"], weight, cell["fraction"])


def _check_axes(axes: dict[str, Any]) -> None:
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
    names = {"models": tuple(CONFIGS), "losses": (*WEIGHTS, "unguided"), "moved": (0, 1)}
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{axis}={values!r}; give a list of at least one value.")
    for value in values:
        require(axis, value, KINDS[axis])
        if axis in names and value not in names[axis]:
            raise ValueError(f"{axis}: {value!r} is unknown; choose among {list(names[axis])}.")
        if axis in ("dilations", "seeds") and value < 0:
            raise ValueError(f"{axis}: {value} is negative; give 0 or more (dilations are shares of a box, as 0.25).")


def check(cells: list[dict[str, Any]], options: GridArguments, classifiers: Classifiers) -> None:
    """Refuse what would end the grid in the middle, or would be ignored.

    Raises:
        ValueError: A layer or an attribution that a model does not have, data without boxes or masks where they are asked
            for, a share that annotates no row with any, options of an unknown model, or one that its configuration does not
            have.
    """
    data = classifiers.data
    if not 0 < data.crop <= 1:
        raise ValueError(f"crop={data.crop} is no share of an image; give one in (0, 1], 1 for no crops.")
    for name, value in (("baseline_learning_rates", options.baseline_learning_rates),
                        ("model_options", data.model_options), ("pretrained", data.pretrained)):  # fmt: skip
        if unknown := sorted(set(read_json(value)) - set(CONFIGS)):
            raise ValueError(f"{name}: {unknown[0]!r} is no model; choose among {list(CONFIGS)}.")
    _check_configurations(data.model_config, data.model_options)
    _check_annotation(cells, classifiers)
    if data.segmentations:
        _check_segmentations(classifiers)
    families: dict[str, Any] = {}
    for cell in cells:
        guidance_of(cell)
        classifiers.collator(cell["model"], box_dilation=cell["dilation"])
        if cell["model"] not in families:
            model = classifiers.new_model(cell["model"])
            families[cell["model"]] = model, family_of(model)
        model, family = families[cell["model"]]
        if cell["layer"] != "input":
            family.path(cell["layer"], model)


def _check_annotation(cells: list[dict[str, Any]], classifiers: Classifiers) -> None:
    """Every split has what is asked for, and every share of the training rows some of it."""
    source, splits = classifiers.data.source, classifiers.splits
    if source not in COLUMNS:
        raise ValueError(f"source={source!r} is unknown; choose among {list(COLUMNS)}.")
    filled = {name: _filled(splits[name], (COLUMNS[source],)) for name in splits}
    if empty := [name for name in splits if not any(filled[name])]:
        other = next(name for name in COLUMNS if name != source)
        raise ValueError(
            f"source={source!r}: no row of the {empty[0]} split has anything in column {COLUMNS[source]!r}, which says where "
            f"to look; give data that have it, or source={other!r}."
        )
    rows = len(filled["train"])
    for fraction, seed in {(cell["fraction"], cell["seed"]): None for cell in cells}:
        if not any(filled["train"][index] for index in annotated_indices(rows, fraction, seed)):
            raise ValueError(
                f"fractions: {fraction} with seed {seed} draws {int(fraction * rows)} of {rows} training rows, and none of "
                f"them has anything in column {COLUMNS[source]!r}; give a larger share, or another seed."
            )


def _check_segmentations(classifiers: Classifiers) -> None:
    """On-object EPG is measured of boxes that guide and of masks of the objects in them."""
    splits = [classifiers.splits[name] for name in ("validation", "test")]
    if classifiers.data.source != "boxes" or not all(any(_filled(split, tuple(COLUMNS.values()))) for split in splits):
        raise ValueError(
            f"segmentations=True with source={classifiers.data.source!r}: on-object EPG takes source='boxes', and rows of "
            "validation and test with boxes and masks; leave segmentations out, or give data that have both."
        )


def _filled(split: Any, columns: tuple[str, ...]) -> list[bool]:
    """Whether all of the columns hold something, row by row."""
    if set(columns) - set(split.column_names):
        return [False] * len(split)
    return [all(row) for row in zip(*(filled_rows(split, [name]) for name in columns), strict=True)]


def _check_configurations(shared: Any, own: Any) -> None:
    """Fields that are misspelt: a configuration of transformers takes any name, and the model is another than was meant."""
    every = set(inspect.signature(PreTrainedConfig).parameters)  # labels, which the data decide, and the like
    known = {model: set(inspect.signature(kind).parameters) - every - {"kwargs"} for model, kind in CONFIGS.items()}
    given = {"model_config": (read_json(shared), set().union(*known.values()))}
    given |= {f"model_options: {model}": (options, known[model]) for model, options in read_json(own).items()}
    for name, (options, fields) in given.items():
        require(name, options, dict)
        if unknown := sorted(set(options) - fields):
            raise ValueError(f"{name}: {unknown[0]!r} is no field of the configuration; choose among {sorted(fields)}.")
