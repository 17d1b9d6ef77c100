"""Trains UpDn, Pythia, SAN or LXMERT on questions with guidance, and measures it before and after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from transformers import set_seed

from hf_guidance import recipes
from hf_guidance.apps.cli.application import check_json, given_by, refuse
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.apps.cli.tasks.outcome import Outcome
from hf_guidance.apps.cli.tasks.question_answering.measures import measured
from hf_guidance.apps.cli.tasks.question_answering.options import DataArguments, GuidanceChoice, ModelArguments
from hf_guidance.apps.cli.tasks.resuming import checkpoint_of
from hf_guidance.common.whole_file import whole_file
from hf_guidance.data import AnswerVocabulary, QuestionCollator, RegionFeatures, with_annotated_fraction
from hf_guidance.guidance import Guidance
from hf_guidance.models import word_tokenizer
from hf_guidance.models.shared.question_answerer import question_answerer
from hf_guidance.objectives import AdversarialAnswerLoss
from hf_guidance.recipes.by_name import recipe_by_name
from hf_guidance.training import GuidanceArguments, GuidedTrainer

ADVERSARY = "question_adversary_size"
"""The field of the config that gives a model the adversary of AdversarialAnswerLoss."""


def chosen_guidance(choice: GuidanceChoice, model_type: str) -> Guidance:
    """Make the guidance of the options: a recipe, or what a folder holds.

    Args:
        choice: The options.
        model_type: "updn", "pythia", "san" or "lxmert".

    Returns:
        The guidance.

    Raises:
        typer.BadParameter: An unknown recipe, one that has no such option, or options without a recipe.
        ValueError: A folder without guidance.json.
    """
    if choice.guidance is not None:
        if json.loads(choice.recipe_options):
            refuse("it is for a recipe, and --guidance names a folder instead.", "--recipe_options")
        guidance = Guidance.load(choice.guidance)
    else:
        with given_by("--recipe"):
            guidance = recipe_by_name(choice.recipe, model_type, json.loads(choice.recipe_options))
    return recipes.random_supervision(guidance) if choice.random_supervision else guidance


def config_fields(given: ModelArguments, guidance: Guidance) -> dict[str, Any]:
    """Read the fields of the model's config; with an adversary where the guidance asks for one, of 64 unless given.

    Args:
        given: The options of the model.
        guidance: The guidance.

    Returns:
        The fields by name.

    Raises:
        typer.BadParameter: No JSON, a model that has no adversary, or a config that takes it away.
    """
    fields: dict[str, Any] = check_json(given.model_config, "--model_config")
    if not any(isinstance(term.objective, AdversarialAnswerLoss) for term in guidance.values()):
        return fields
    if given.model_type == "lxmert":
        refuse(
            "'lxmert' has no classifier that answers from the question alone, which the loss AdversarialAnswerLoss needs; "
            "choose updn, pythia or san, or another recipe.",
            "--model_type",
        )
    if fields.setdefault(ADVERSARY, 64) is None:
        refuse(
            f"{ADVERSARY} is null, and the loss AdversarialAnswerLoss needs the adversary; leave it out for 64, or give a "
            f"size: '{{\"{ADVERSARY}\": 64}}'.",
            "--model_config",
        )
    return fields


def train(
    model_args: ModelArguments,
    data: DataArguments,
    choice: GuidanceChoice,
    args: GuidanceArguments,
    callbacks: Sequence[Any] = (),
) -> Outcome:
    """Train a model that answers questions by a recipe; model, tokenizer, answers.json and guidance.json are saved.

    Args:
        model_args: The model.
        data: The data.
        choice: The recipe.
        args: How it is trained, and where things go.
        callbacks: For the trainer.

    Returns:
        Metrics of every evaluated split before and after; also in ``<output_dir>/results.json``.

    Raises:
        typer.BadParameter: A name or a value that does not exist.
        ValueError: Options, data or a model that do not go together.
    """
    set_seed(args.seed)
    start = checkpoint_of(args)
    guidance = chosen_guidance(choice, model_args.model_type)
    fields = config_fields(model_args, guidance)
    splits = splits_named(data.dataset, (data.train_split, *data.eval_splits), data.data_dir, data.builder_config)
    rows = splits[data.train_split]
    answers = AnswerVocabulary.from_answers(rows["answers"], data.min_occurrence)
    collator = _collator(data, rows, answers)
    for split in data.eval_splits:
        collator.check_rows(splits[split], split)
    with given_by("--fraction"):
        annotated = with_annotated_fraction(rows, data.fraction, args.seed)
    trainer = GuidedTrainer(
        model=_model(model_args, fields, collator, rows[0], answers),
        args=args,
        train_dataset=annotated,
        data_collator=collator,
        processing_class=collator.tokenizer,
        guidance=guidance,
        callbacks=list(callbacks),
    )
    before = {split: measured(trainer, splits[split], data.threshold) for split in data.eval_splits}
    trainer.train(resume_from_checkpoint=start)
    trainer.save_model()
    folder = Path(args.output_dir)
    answers.save(folder / "answers.json")
    after = {split: measured(trainer, splits[split], data.threshold) for split in data.eval_splits}
    named = {f"eval_{s}_{name}": value for s in data.eval_splits for name, value in after[s].items()}
    trainer.log({name: value for name, value in named.items() if value is not None})  # for reports of the run
    trainer.save_state()
    with whole_file(folder / "results.json") as draft:
        draft.write_text(json.dumps({"before": before, "after": after}, indent=2) + "\n")
    both = {f"{s} {n}": (before[s].get(n), value) for s in data.eval_splits for n, value in after[s].items()}
    return Outcome(both, str(folder), "model, tokenizer, answers.json and guidance.json")


def _model(
    given: ModelArguments, fields: dict[str, Any], collator: QuestionCollator, row: Any, answers: AnswerVocabulary
) -> Any:
    dims = collator([row])["visual_feats"].shape[-1]
    with given_by() if given.model_name_or_path is None else nullcontext():
        return question_answerer(
            given.model_type,
            answers.id2label,
            vocabulary=len(collator.tokenizer),
            box_dims=dims,
            fields=fields,
            name_or_path=given.model_name_or_path,
        )


def _collator(data: DataArguments, rows: Any, answers: AnswerVocabulary) -> QuestionCollator:
    regions = RegionFeatures.open(*data.regions) if data.regions else None
    tokenizer = word_tokenizer(rows["question"], max_length=data.max_length)
    with given_by():
        return QuestionCollator(tokenizer, answers, regions, max_length=data.max_length, source=data.source)
