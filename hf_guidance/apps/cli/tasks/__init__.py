"""The tasks that ``hf-guidance train`` knows, a folder each: ``options.py`` (GROUPS) and ``training.py`` (train).

A new task needs its folder, and a line in TASKS.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

TASKS = {
    "image-classification": "image_classification",
    "question-answering": "question_answering",
}
"""Name of a task to its folder."""


def option_groups(task: str) -> tuple[type, ...]:
    """The dataclasses with the options of a task, beside those of GuidanceArguments; they load nothing heavy.

    Args:
        task: One of TASKS.

    Returns:
        The dataclasses, in the order in which ``trainer_of`` takes them.
    """
    groups: tuple[type, ...] = import_module(f"{__name__}.{TASKS[task]}.options").GROUPS
    return groups


def trainer_of(task: str) -> Any:
    """The function that trains: it takes an object of every group, GuidanceArguments and ``callbacks``; gives an Outcome.

    Args:
        task: One of TASKS.

    Returns:
        ``train`` of the task; loads torch and transformers.
    """
    return import_module(f"{__name__}.{TASKS[task]}.training").train
