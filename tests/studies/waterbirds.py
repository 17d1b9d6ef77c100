"""nuts_on_places as Waterbirds (arXiv 2303.11932, table C1): told the nut from the place it lies on, and the other way round.

Conventional: the label is the nut, importance is inside its box. Reversed: the label is the place, importance is outside the
box. As in nuts.py the task is learned first on unbiased copies, then fine-tuned on the set where nut and place agree in 95 %.
The groups are those of Waterbirds: 0 and 3 agree, 1 and 2 do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from studies.common import CONTRAST_MAPS, SINGLE, Results, Stage, Task, measure, moved, start_weights, train
from studies.nuts import PLAIN, START, box_of, prepared, read, unbiased_copies

from hf_guidance import Guidance, Term
from hf_guidance.objectives import L1


@dataclass(frozen=True)
class L1Stage(Stage):
    """A run guided by L1 instead of Energy."""

    def guidance(self) -> Guidance:
        return Guidance(l1=Term(L1(CONTRAST_MAPS), self.weight, reduction="rows"))


ENERGY = Stage(epochs=PLAIN.epochs, learning_rate=PLAIN.learning_rate, weight=1.0, contrast=True)
UNIFORM = L1Stage(epochs=PLAIN.epochs, learning_rate=PLAIN.learning_rate, weight=1.0, contrast=True)
ARMS = {"unguided": PLAIN, "energy": ENERGY, "l1": UNIFORM, "energy, moved": moved(ENERGY), "l1, moved": moved(UNIFORM)}
TASKS = {"conventional": ("hazelnut", "date"), "reversed": ("plants", "clothes")}
COLUMNS = (
    "worst_group", "group 0", "group 1", "group 2", "group 3", "accuracy", "epg", "attribution_iou", "undefined_share",
)  # fmt: skip


def in_boxes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the box of the nut instead of its outline."""
    for row in rows:
        box = np.zeros(row["cut"].shape, bool)
        box[box_of(row["cut"])] = True
        row["box"] = box
    return rows


def labelled(rows: list[dict[str, Any]], task: str) -> list[dict[str, Any]]:
    """The rows of a task, with label and importance of it."""
    if task == "conventional":
        return prepared([{**row, "cut": row["box"]} for row in rows])
    return prepared([{**row, "cut": ~row["box"], "labels": row["place"]} for row in rows])


def tasks(data: Path, seed: int, task: str, splits: Mapping[str, list[dict[str, Any]]]) -> tuple[Task, Task]:
    """The unbiased copies and the biased set of a task, measured on the same photos."""
    test = labelled(in_boxes(splits["test"]), task)
    copies = labelled(in_boxes(unbiased_copies(splits["train"], seed)), task)
    biased = labelled(in_boxes(splits["train"]), task)
    found = ((f"waterbirds-{task}-unbiased", copies), (f"waterbirds-{task}", biased))
    first, second = (Task(name, rows, test, TASKS[task], SINGLE, "importance", CONTRAST_MAPS) for name, rows in found)
    return first, second


def run(data: Path, output: Path, seeds: int) -> None:
    for task in TASKS:
        results = Results(f"waterbirds-{task}", output, {"start": START, **ARMS})
        splits = read(data / "nuts_on_places")
        for seed in range(seeds):
            copies, biased = tasks(data, seed, task, splits)
            start = start_weights(copies, START, seed, output)
            results.add("start", seed, measure(train(biased, Stage(0, 1e-3), seed, start), biased))
            for arm, stage in ARMS.items():
                results.add(arm, seed, measure(train(biased, stage, seed, start), biased))
        for arm in ("energy", "l1"):
            results.report(f"{arm}: worst group over unguided", ("worst_group", arm, "unguided"))
            results.report(f"{arm}: worst group over moved boxes", ("worst_group", arm, f"{arm}, moved"))
        results.show(COLUMNS)
