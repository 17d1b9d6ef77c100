"""``hf-guidance train``: a training by a YAML file, by options, or both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, app, check_known, given_by
from hf_guidance.apps.cli.output import at_work, give, say
from hf_guidance.apps.cli.tasks import TASKS, option_groups

DEFAULT_TASK = "image-classification"

EPILOG = """
\b
Examples:
  hf-guidance train --output_dir runs/digits --num_train_epochs 3
  hf-guidance train --config run.yaml --learning_rate 1e-4
  hf-guidance train --dataset pascal_voc --data_dir VOCdevkit/VOC2007 \\
      --model_name_or_path microsoft/resnet-50 \\
      --problem_type multi_label_classification --attribution InputXGradient \\
      --output_dir runs/voc
  hf-guidance train --task question-answering --recipe visfis \\
      --output_dir runs/vqa

\b
A file holds options with values, a line each:
  task: image-classification
  dataset: digits_on_photos
  builder_config: {image_size: 72, train_size: 1500}
  learning_rate: 1e-4
  output_dir: runs/digits

There booleans are true and false, numbers are decimal, and all else is text as it is written.

Every option of transformers' TrainingArguments is an option, too: --list-options prints all; but its debug is one of a file
alone, for --debug shows the traceback of an error. What a training ran with is written to train.yaml in its output_dir, and can
be given as --config again.
"""


class TrainCommand(Command):
    """The command with the options of the chosen task in its help; they are parsed by transformers' HfArgumentParser."""

    words: tuple[str, ...] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Typer's, with the words noted: help is shown before other options are read."""
        self.words = tuple(args)
        left: list[str] = super().parse_args(ctx, args)
        return left

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Typer's own options, then those of the task in groups."""
        super().format_options(ctx, formatter)
        task = _task_in(self.words)
        for group, title in zip(option_groups(task), ("Model", "Data", "Guidance"), strict=True):
            with formatter.section(f"{title} ({task})"):
                formatter.write_dl([_described(one) for one in fields(group)])
        with formatter.section("Training (more with --list-options)"):
            formatter.write_dl(_TRAINING)


_TRAINING = [
    ("--output_dir TEXT", "Where model, results and train.yaml go."),
    ("--num_train_epochs FLOAT", "Epochs."),
    ("--learning_rate FLOAT", "Learning rate."),
    ("--per_device_train_batch_size INT", "Images in a batch."),
    ("--seed INT", "Of weights, order and drawn annotations."),
    ("--use_cpu", "Do not use a GPU."),
    ("--resume_from_checkpoint TEXT", "A checkpoint to go on from; true for the last one."),
]


def _task_in(words: Sequence[str]) -> str:
    """The task that words name, the default where they name none that is known."""
    named = [word.removeprefix("--task=") for word in words if word.startswith("--task=")]
    named += [after for word, after in pairwise(words) if word == "--task"]
    return next((name for name in named if name in TASKS), DEFAULT_TASK)


def _described(one: Any) -> tuple[str, str]:
    shown = next((word for part, word in _KINDS.items() if part in str(one.type)), "TEXT")
    default = one.default_factory() if one.default_factory is not MISSING else one.default
    text = one.metadata.get("help", "")
    if default not in (None, MISSING, False):
        text += f" [default: {' '.join(default) if isinstance(default, list) else default}]"
    return f"--{one.name} {shown}".rstrip(), text


_KINDS = {"list": "TEXT...", "bool": "", "int": "INT", "float": "FLOAT"}


@app.command(
    "train",
    cls=TrainCommand,
    epilog=EPILOG,
    short_help="Train a model with guidance, and measure it.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML file; options override it.")] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help=f"{' or '.join(TASKS)}.")] = None,
    list_options: Annotated[bool, typer.Option("--list-options", help="Print every option, and end.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a model with guidance on its attributions, and measure it before and after."""
    from hf_guidance.apps.cli.train_options import read_config, training_options

    given = read_config(config) if config else {}
    chosen = check_known(task or given.pop("task", DEFAULT_TASK), TASKS, "--task")
    given.pop("task", None)
    options = training_options(chosen, given, str(config), context.args)
    if list_options:
        give(options.everything())
        return
    with at_work():
        from hf_guidance.apps.cli.tasks import trainer_of

        with given_by():
            objects = options.objects()
        say("loading data and model")
        outcome = trainer_of(chosen)(*objects, callbacks=[options.written()])
    if os.environ.get("RANK", "0") == "0":  # under torchrun every process comes here
        give(outcome.plain() if as_json else outcome.table())
