"""What is wrong with a grid that only its data or its models can tell, found before anything is trained."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig

from hf_guidance.common.checks import check_choice
from hf_guidance.data.annotated import annotated_indices, filled_rows
from hf_guidance.families import family_of
from hf_guidance.training.grid.arguments import DataArguments, GridArguments
from hf_guidance.training.grid.cells import attribution_of, guidance_of
from hf_guidance.training.grid.classifiers import COLUMNS, Classifiers
from hf_guidance.training.grid.models import CONFIGS
from hf_guidance.training.grid.options import read_json, require
from hf_guidance.views.layers import is_input


def check_grid(cells: Sequence[Mapping[str, Any]], options: GridArguments, classifiers: Classifiers) -> None:
    """Refuse what would end the grid in the middle, or would be ignored.

    Args:
        cells: The cells of the grid.
        options: The options that they were made of.
        classifiers: Its data and models.

    Raises:
        ValueError: A layer or an attribution that a model does not have, data without boxes or masks where they are asked
            for, a share that annotates no row with any, options of an unknown model, or one that its configuration does not
            have.
    """
    data = classifiers.data
    if not 0 < data.crop <= 1:
        raise ValueError(f"crop={data.crop} is not a share of an image; give one in (0, 1], 1 for no crops.")
    _check_options_by_model(options, data)
    _check_configurations(data.model_config, data.model_options)
    check_annotation(cells, data.source, classifiers.splits)
    if data.segmentations:
        check_segmentations(data.source, classifiers.splits)
    families: dict[str, Any] = {}
    for cell in cells:
        guidance_of(cell)
        attribution_of(cell)
        classifiers.collator(cell["model"], box_dilation=cell["dilation"])
        if cell["model"] not in families:
            model = classifiers.new_model(cell["model"])
            families[cell["model"]] = model, family_of(model)
        model, family = families[cell["model"]]
        if not is_input(cell["layer"]):
            family.layout(family.path(cell["layer"], model), model)


def check_annotation(cells: Sequence[Mapping[str, Any]], source: str, splits: Mapping[str, Any]) -> None:
    """Check that every split has what says where to look, and every share of the training rows some of it.

    Args:
        cells: Their "fraction" and "seed" decide which training rows are annotated.
        source: "boxes" or "mask".
        splits: The datasets "train", "validation" and "test".

    Raises:
        ValueError: An unknown source, a split without any, or a share that draws only rows without.
    """
    check_choice("source", source, tuple(COLUMNS))
    filled = {name: _filled(split, (COLUMNS[source],)) for name, split in splits.items()}
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


def check_segmentations(source: str, splits: Mapping[str, Any]) -> None:
    """Check that on-object EPG can be measured: boxes guide, and some rows have boxes and masks of the objects in them.

    Args:
        source: "boxes" or "mask".
        splits: The datasets "validation" and "test".

    Raises:
        ValueError: Masks guide, or one of the splits has no row with both.
    """
    measured = [splits[name] for name in ("validation", "test")]
    if source != "boxes" or not all(any(_filled(split, tuple(COLUMNS.values()))) for split in measured):
        raise ValueError(
            f"segmentations=True with source={source!r}: on-object EPG takes source='boxes', and rows of "
            "validation and test with boxes and masks; leave segmentations out, or give data that have both."
        )


def _filled(split: Any, columns: tuple[str, ...]) -> list[bool]:
    """Whether all of the columns hold something, row by row."""
    if set(columns) - set(split.column_names):
        return [False] * len(split)
    return [all(row) for row in zip(*(filled_rows(split, [name]) for name in columns), strict=True)]


def _check_options_by_model(options: GridArguments, data: DataArguments) -> None:
    """Options of a model that no grid has would be ignored."""
    given = {"baseline_learning_rates": options.baseline_learning_rates, "model_options": data.model_options,
             "pretrained": data.pretrained}  # fmt: skip
    for name, value in given.items():
        for model in read_json(value):
            check_choice(f"{name}: model", model, tuple(CONFIGS))


def _check_configurations(shared: Any, own: Any) -> None:
    """Fields that are misspelt: a configuration of transformers takes any name, and the model is another than was meant."""
    every = set(inspect.signature(PreTrainedConfig).parameters)  # labels, which the data decide, and the like
    known = {model: set(inspect.signature(kind).parameters) - every - {"kwargs"} for model, kind in CONFIGS.items()}
    given = {"model_config": (read_json(shared), set().union(*known.values()))}
    given |= {f"model_options: {model}": (options, known[model]) for model, options in read_json(own).items()}
    for name, (options, fields) in given.items():
        require(name, options, dict)
        for field in sorted(options):
            check_choice(f"{name}: field", field, sorted(fields))
