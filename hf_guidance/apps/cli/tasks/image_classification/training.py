"""Trains an image classifier with guidance, and measures it before and after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import set_seed

from hf_guidance.apps.cli.application import given_by, refuse
from hf_guidance.apps.cli.checkpoints import check_layer
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.apps.cli.tasks.image_classification.options import DataArguments, GuidanceChoice, ModelArguments
from hf_guidance.apps.cli.tasks.outcome import TIMINGS, Outcome
from hf_guidance.apps.cli.tasks.resuming import checkpoint_of
from hf_guidance.attributions import Attribution
from hf_guidance.data import GuidanceCollator, with_annotated_fraction, with_object_labels
from hf_guidance.data.images.class_names import class_names
from hf_guidance.evaluation import Grounding
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.guidance import Guidance
from hf_guidance.guidance.choice import attribution_by_name, one_term
from hf_guidance.models.shared.image_classifier import image_classifier
from hf_guidance.training import GuidanceArguments, GuidedTrainer

GROUNDING = ("epg", "attribution_iou", "pointing_game")


def chosen_guidance(choice: GuidanceChoice) -> tuple[Guidance, Attribution]:
    """Make the guidance of the options, and the attribution that is measured, with or without guidance.

    Args:
        choice: The options.

    Returns:
        The guidance, of the task alone where no objective is chosen, and the attribution.

    Raises:
        ValueError: A name or a field that does not exist.
    """
    attribution = attribution_by_name(choice.attribution, choice.layer, json.loads(choice.attribution_options))
    if not choice.objective:
        return Guidance(), attribution
    options = json.loads(choice.objective_options)
    guidance = one_term(
        choice.objective, attribution, options=options, weight=choice.weight, reduction=choice.reduction
    )
    (term,) = guidance.on_attributions.values()
    return guidance, term.objective.attribution  # type: ignore[attr-defined]  # which the options may have changed


def train(
    model_args: ModelArguments,
    data: DataArguments,
    choice: GuidanceChoice,
    args: GuidanceArguments,
    callbacks: Sequence[Any] = (),
) -> Outcome:
    """Train an image classifier with one term of guidance; the model, its processor and guidance.json are saved.

    Args:
        model_args: The model.
        data: The data.
        choice: The term.
        args: How it is trained, and where things go.
        callbacks: For the trainer.

    Returns:
        Task metrics and grounding before and after; also in ``<output_dir>/all_results.json``.

    Raises:
        typer.BadParameter: A name or a value that does not exist.
        ValueError: Options, data or a model that do not go together.
    """
    set_seed(args.seed)
    start = checkpoint_of(args)
    with given_by():
        guidance, attribution = chosen_guidance(choice)
    splits = splits_named(data.dataset, (data.train_split, data.eval_split), data.data_dir, data.builder_config)
    splits = with_object_labels(splits, data.names)
    with given_by("--fraction"):
        rows = with_annotated_fraction(splits[data.train_split], data.fraction, args.seed)
    if data.control_seed is not None and "image_id" not in rows.column_names:
        refuse(f"places are drawn from image_id, and the rows of {data.dataset} have no such column.", "--control_seed")
    test, names = splits[data.eval_split], class_names(rows, data.train_split)
    model, processor = _model(model_args, names, data.problem_type)
    check_layer(attribution, model)
    grouped = data.problem_type == "single_label_classification" and "group" in test.column_names
    trainer = GuidedTrainer(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=test,
        data_collator=collator_of(data, processor, len(names)),
        processing_class=processor,
        compute_metrics=classification_metrics(data.problem_type, group="group" if grouped else None),
        guidance=guidance,
        grounding=Grounding(attribution, metrics=GROUNDING),
        callbacks=list(callbacks),
    )
    before = _renamed(trainer.evaluate(), "before")
    trainer.train(resume_from_checkpoint=start)
    trainer.save_model()
    after = _renamed(trainer.evaluate(), "after")
    trainer.save_model()  # once more, for the card tells what was measured
    trainer.save_state()
    trainer.save_metrics("all", before | after)
    names = [key.removeprefix("after_") for key in after if key.startswith("after_")]
    both = {name: (before.get(f"before_{name}"), after[f"after_{name}"]) for name in names if name not in TIMINGS}
    return Outcome(both, str(Path(args.output_dir)), "model, processor and guidance.json")


def _model(given: ModelArguments, names: Sequence[str], problem_type: str) -> tuple[Any, Any]:
    if given.model_name_or_path is not None:
        for name, default in ((one.name, one.default) for one in fields(given)):
            if name != "model_name_or_path" and getattr(given, name) != default:
                refuse(f"it is for models from scratch, and {given.model_name_or_path} is a checkpoint.", f"--{name}")
    # What is wrong with a checkpoint is a failure, what is wrong with a model from scratch stands in the options.
    with given_by() if given.model_name_or_path is None else nullcontext():
        return image_classifier(
            given.model_name_or_path,
            names,
            problem_type,
            model_type=given.model_type,
            fields=json.loads(given.model_config),
            image_size=given.image_size,
        )


def _renamed(metrics: dict[str, float], prefix: str) -> dict[str, float]:
    """The metrics by the name of the moment; in the trainer's own log they are "eval_..." both times."""
    return {
        f"{prefix}_{name.removeprefix('eval_')}" if name.startswith("eval_") else name: v for name, v in metrics.items()
    }


def collator_of(data: DataArguments, processor: Any, classes: int) -> GuidanceCollator:
    """Make the collator of the training rows; the trainer evaluates without ``control_seed``.

    Args:
        data: The options of the data.
        processor: The image processor of the model.
        classes: Number of classes.

    Returns:
        The collator.
    """
    with given_by():
        return GuidanceCollator(
            processor,
            data.problem_type,
            classes,
            data.source,
            control_seed=data.control_seed,
            bbox_format=data.bbox_format,
        )
