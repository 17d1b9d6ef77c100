"""Measures a checkpoint on a dataset, for ``hf-guidance evaluate``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PrinterCallback

from hf_guidance.apps.cli.application import check_known, given_by, refuse
from hf_guidance.apps.cli.checkpoints import Checkpoint, check_layer, checked_device, open_checkpoint
from hf_guidance.apps.cli.map_metrics import check_metrics
from hf_guidance.apps.cli.output import say
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.apps.cli.tasks.outcome import TIMINGS
from hf_guidance.attributions import Attribution, PredictedLogit
from hf_guidance.data import AnswerVocabulary, GuidanceCollator, QuestionCollator, RegionFeatures, with_object_labels
from hf_guidance.data.images.class_names import class_names
from hf_guidance.data.images.labels import PROBLEM_TYPES
from hf_guidance.evaluation import Grounding
from hf_guidance.guidance import Guidance, to_plain
from hf_guidance.training import GuidanceArguments, GuidedTrainer

_OF_IMAGES = ("metrics", "problem_type", "bbox_format", "names")
_OF_QUESTIONS = ("regions", "threshold")
_NO_METRICS = (*TIMINGS, "loss/task")


@dataclass(frozen=True)
class Choices:
    """The options of ``hf-guidance evaluate``; see there. ``given`` has the names of those on the command line."""

    dataset: str
    split: str
    data_dir: str | None
    builder_config: str
    attribution: str | None
    layer: str | None
    metrics: Sequence[str]
    problem_type: str | None
    bbox_format: str
    names: Sequence[str]
    source: str
    regions: Sequence[str]
    threshold: float
    batch_size: int
    device: str
    given: frozenset[str]

    def refuse_unused(self, names: Sequence[str], why: str) -> None:
        """Refuse options that were given and would do nothing.

        Args:
            names: The options.
            why: What they would be needed for.

        Raises:
            typer.BadParameter: One of them was given.
        """
        for name in names:
            if name in self.given:
                option = f"--{name.replace('_', '-')}"
                refuse(f"it would do nothing here: {why}; leave it out.", option)


@dataclass(frozen=True)
class Results:
    """What was measured.

    Attributes:
        model: Folder or Hub id.
        dataset: Its name.
        split: Of the dataset.
        rows: How many rows were measured.
        attribution: The attribution whose maps were measured; None if none was.
        metrics: Name to value; None where it is not defined.
    """

    model: str
    dataset: str
    split: str
    rows: int
    attribution: Attribution | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        explained = None if self.attribution is None else {"layer": self.attribution.layer} | to_plain(self.attribution)
        own = {"model": self.model, "dataset": self.dataset, "split": self.split, "rows": self.rows}
        return own | {"attribution": explained, "metrics": dict(self.metrics)}

    def table(self) -> str:
        """For people."""
        lines = [f"{self.model} on {self.dataset}, split {self.split}, {self.rows} rows"]
        if self.attribution is not None:
            lines.append(f"maps: {type(self.attribution).__name__} at {self.attribution.layer}")
        shown = ((name, "-" if value is None else f"{value:.4f}") for name, value in self.metrics.items())
        return "\n".join([*lines, *(f"{name:34s}{value:>10s}" for name, value in shown)])


def measured(name: str, revision: str | None, choices: Choices) -> Results:
    """Measure a checkpoint.

    Args:
        name: Folder or Hub id.
        revision: Branch, tag or commit of a Hub id.
        choices: The options.

    Returns:
        The metrics of its task, and of its maps where there is an attribution and the rows have annotations.

    Raises:
        typer.BadParameter: An option that does not exist.
        ValueError: A checkpoint or data that cannot be read, or do not go together.
    """
    check_metrics(choices.metrics)
    device, checkpoint = checked_device(choices.device), open_checkpoint(name, revision)
    if checkpoint.answers_questions:
        choices.refuse_unused(_OF_IMAGES, f"{name} answers questions, and it is for images")
    else:
        choices.refuse_unused(_OF_QUESTIONS, f"{name} classifies images, and it is for questions")
    attribution = checkpoint.attribution(choices.attribution, choices.layer)
    splits = splits_named(choices.dataset, [choices.split], choices.data_dir, choices.builder_config)
    say(f"evaluating {name} on {choices.dataset}, split {choices.split}")
    with tempfile.TemporaryDirectory() as folder:  # a trainer makes a folder, and nothing is written there
        args = GuidanceArguments(
            folder,
            per_device_eval_batch_size=choices.batch_size,
            use_cpu=device == "cpu",
            disable_tqdm=not sys.stderr.isatty(),
            report_to="none",
        )
        args._n_gpu = min(1, args.n_gpu)  # several GPUs in one process lose activations
        if checkpoint.answers_questions:
            return _of_questions(checkpoint, splits, choices, args, attribution)
        return _of_images(checkpoint, splits, choices, args, attribution)


def _of_images(
    checkpoint: Checkpoint, splits: Any, choices: Choices, args: Any, attribution: Attribution | None
) -> Results:
    from hf_guidance.evaluation.classification import classification_metrics  # loads scikit-learn

    rows = with_object_labels(splits, list(choices.names) or None)[choices.split]
    names = class_names(rows, choices.split)
    _check_classes(checkpoint, names)
    problem = choices.problem_type or checkpoint.config.problem_type or PROBLEM_TYPES[0]
    check_known(problem, PROBLEM_TYPES, "--problem-type")
    grouped = problem == "single_label_classification" and "group" in rows.column_names
    processor = checkpoint.processor()
    if attribution is None:
        choices.refuse_unused(
            ["metrics"],
            f"{checkpoint.name} has no term on attributions in a guidance.json, and no --attribution is given",
        )
        say(
            f"no maps are measured: {checkpoint.name} has no term on attributions in a guidance.json; give --attribution"
        )
    with given_by():
        collator = GuidanceCollator(processor, problem, len(names), choices.source, bbox_format=choices.bbox_format)
    model = checkpoint.model()
    check_layer(attribution, model)
    trainer = GuidedTrainer(
        model=model,
        args=args,
        eval_dataset=rows,
        data_collator=collator,
        processing_class=processor,
        compute_metrics=classification_metrics(problem, group="group" if grouped else None),
        guidance=Guidance(),
        grounding=None if attribution is None else Grounding(attribution, metrics=choices.metrics),
    )
    trainer.remove_callback(PrinterCallback)
    found = {key.removeprefix("eval_"): value for key, value in trainer.evaluate().items()}
    metrics = {key: value for key, value in found.items() if key not in _NO_METRICS}
    if attribution is not None and not any(key in metrics for key in choices.metrics):
        say(f"no maps were measured: no row of {choices.dataset} {choices.split} has an annotation")
    return Results(checkpoint.name, choices.dataset, choices.split, len(rows), attribution, metrics)


def _check_classes(checkpoint: Checkpoint, names: Sequence[str]) -> None:
    own = [str(checkpoint.config.id2label[index]) for index in range(checkpoint.config.num_labels)]
    if len(own) != len(names):
        raise ValueError(
            f"{checkpoint.name} has {len(own)} classes and the dataset {len(names)}: it was trained on other data. "
            f"The model's are {own[:8]}, the dataset's {list(names)[:8]}."
        )
    elsewhere = [name for index, name in enumerate(names) if name in own and own[index] != name]
    if elsewhere:
        raise ValueError(
            f"class {elsewhere[0]!r} has the index {own.index(elsewhere[0])} in {checkpoint.name} and "
            f"{list(names).index(elsewhere[0])} in the dataset; bring the dataset's classes into the model's order {own[:8]}."
        )
    if own != list(names) and not all(name == f"LABEL_{index}" for index, name in enumerate(own)):
        say(
            f"the classes are named {own[:4]} in the model and {list(names)[:4]} in the dataset; they are taken for the same"
        )


def _of_questions(
    checkpoint: Checkpoint, splits: Any, choices: Choices, args: Any, attribution: Attribution | None
) -> Results:
    from hf_guidance.apps.cli.tasks.question_answering.measures import measured as measured_questions

    config, rows = checkpoint.config, splits[choices.split]
    answers = AnswerVocabulary(tuple(config.id2label[index] for index in sorted(config.id2label)))
    regions = RegionFeatures.open(*choices.regions) if choices.regions else None
    tokenizer = checkpoint.processor()
    with given_by("--source"):
        collator = QuestionCollator(tokenizer, answers, regions, source=choices.source)
    collator.check_rows(rows, choices.split)
    trainer = GuidedTrainer(
        model=checkpoint.model(),
        args=args,
        eval_dataset=rows,
        data_collator=collator,
        processing_class=tokenizer,
        guidance=Guidance(),
    )
    explained = None if attribution is None else replace(attribution, target=PredictedLogit())
    metrics = measured_questions(trainer, rows, choices.threshold, explained)
    return Results(checkpoint.name, choices.dataset, choices.split, len(rows), explained, metrics)
