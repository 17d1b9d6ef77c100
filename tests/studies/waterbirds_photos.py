"""Real Waterbirds with a pretrained network: which guidance helps the worst group, and does it matter where the boxes lie?

    python tests/studies/waterbirds_photos.py --data DATA [--set main] [--seeds 3] [--runs FILE]
    python tests/studies/waterbirds_photos.py --table

DATA is a folder with waterbirds_100_train_validation: in training landbirds are always on land and waterbirds always on water.
Runs examples/run_waterbirds.py for every arm and seed and adds a line to FILE, by default waterbirds_photos.jsonl beside this
script, after each, so that a study can be stopped, continued and shared by several processes (`--part 0/2`). `--set choice`
measures one seed on the first half of the validation rows, by which settings were chosen; all other sets measure on the second
half. `--table` prints means and standard deviations over the seeds, and needs no photographs.

What the frozen part of the network gives for a photograph is computed once and remembered, which changes no figure; minutes
are measured by `--set minutes`, which remembers nothing.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import numpy as np
import torch
from remembered import remember_blocks
from run_waterbirds import RATES, Run, WaterbirdsArguments
from waterbirds_methods import METHODS

FOLDER = "waterbirds_100_train_validation"
INSIDE = ("energy_middle", "energy_layers")  # these explain layers in the frozen part
COLUMNS = {"worst": "worst_group_accuracy", "mean": "mean_group_accuracy", "EPG": "epg", "dead": "epg_undefined_share",
           "rrr_suff": "rrr_suff", "rrr_inv": "rrr_inv"}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One row of the table: the options of run_waterbirds.py, but for the seed."""

    method: str
    random_boxes: bool = False
    boxes: float = 0.1
    task: str = "conventional"
    trained: str = "head"
    weight: float | None = None
    learning_rate: float | None = None
    half: str = "second"
    remembered: bool = True
    weight_decay: float | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        parts = [self.method]
        parts += (
            [f"{self.boxes:.0%} of the boxes"] if METHODS[self.method].told != "nothing" and self.boxes != 0.1 else []
        )
        parts += ["random boxes"] if self.random_boxes else []
        parts += [f"weight {self.weight:g}"] if self.weight is not None else []
        parts += [f"rate {self.learning_rate:g}"] if self.learning_rate is not None else []
        parts += [f"weight decay {self.weight_decay:g}"] if self.weight_decay is not None else []
        return ", ".join(parts)


def with_control(method: str, **given: Any) -> list[Cell]:
    """A method and, where it reads boxes or answers by them, the same with boxes at random places."""
    told = METHODS[method].told != "nothing"
    return [Cell(method, moved, **given) for moved in ((False, True) if told else (False,))]


def choice() -> Iterator[Cell]:
    """Weights, on the first half of the validation rows."""
    weights: dict[str, tuple[float, ...]] = {
        "energy": (1, 3, 5, 10),
        "energy_label": (1, 3, 10),
        "l1": (1, 10, 100, 1000),
        "sufficiency": (1, 3, 5, 10, 30),
        "uncertainty": (0.1, 0.5, 2),
        "views": (1, 3, 5, 10, 30),
        "energy_views": (1, 3, 5, 10),
        "energy_middle": (1, 3, 10),
        "energy_input": (1, 3, 10),
        "energy_layers": (1, 3, 10),
        "rrr": (1, 10, 50, 200),
        "box_energy": (0.1, 0.3, 1, 3, 10),
        "crayon": (10, 100, 1000, 1e4, 1e5),
    }
    for method, values in weights.items():
        for weight in values:
            yield Cell(method, weight=float(weight), half="first")
    for method in ("l1_views", "energy_views"):
        for rate in (3e-3, 1e-2, 3e-2):
            yield Cell(method, weight=10.0, learning_rate=rate, half="first")
    for decay in (1.0, 10.0):
        yield Cell("energy_views", weight=10.0, weight_decay=decay, half="first")


SETS: dict[str, list[Cell]] = {
    "choice": list(choice()),
    "main": [
        cell
        for method in ("erm", "erm_as_long", "energy", "energy_label", "l1", "sufficiency", "uncertainty", "views",
                       "energy_views", "l1_views", "box_energy", "jtt", "crayon", "gradia")
        for cell in with_control(method)
    ],
    "fractions": [
        cell
        for boxes, methods in ((0.01, ("energy", "l1", "energy_views", "l1_views")), (1.0, ("energy", "l1", "energy_views")))
        for method in methods
        for cell in with_control(method, boxes=boxes)
    ],
    "reversed": [
        cell
        for method in ("erm", "erm_as_long", "energy", "l1", "views", "energy_views", "l1_views", "box_energy", "jtt",
                       "crayon", "gradia", "rrr")
        for cell in with_control(method, task="reversed")
    ],
    "inside": [Cell(method, moved) for moved in (False, True) for method in INSIDE],
    "trained": [
        Cell("erm", trained="late"),
        *with_control("energy_views", trained="late"),
        Cell("energy", trained="late"),
    ],
    "rates": [cell for method in ("erm", "energy_views") for cell in with_control(method, learning_rate=3e-3)],
    "minutes": [Cell(method, remembered=False) for method in ("erm", "energy_views")],
}  # fmt: skip


def one_run(cell: Cell, seed: int, data: Path, known: dict[bytes, torch.Tensor]) -> dict[str, Any]:
    """Train and measure one cell."""
    with tempfile.TemporaryDirectory() as folder:
        options = WaterbirdsArguments(
            str(data / FOLDER), cell.method, folder, seed=seed, boxes=cell.boxes, random_boxes=cell.random_boxes,
            task=cell.task, trained=cell.trained, weight=cell.weight, learning_rate=cell.learning_rate, half=cell.half,
        )  # fmt: skip
        if cell.weight_decay is not None:
            options.weight_decay = cell.weight_decay
        run = Run(options)
        if cell.remembered and cell.trained == "head" and cell.method not in INSIDE:
            remember_blocks(run.model, known)
        results = run()
    own = {"cell": vars(cell), "used": used(cell), "seed": seed}
    return {**own, "minutes": results["minutes"], **results["validation"]}


def used(cell: Cell) -> dict[str, float]:
    """The weight and the rate that a cell is trained with; a run of other defaults is no longer one of this cell."""
    weight = METHODS[cell.method].weight if cell.weight is None else cell.weight
    return {
        "weight": weight,
        "learning_rate": RATES[cell.trained] if cell.learning_rate is None else cell.learning_rate,
    }


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def runs_of(cell: Cell, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of a cell."""
    return [line for line in runs if line["cell"] == vars(cell) and line["used"] == used(cell)]


def work(args: argparse.Namespace) -> None:
    """Run what the file lacks."""
    part, parts = map(int, args.part.split("/"))
    seeds = range(1) if args.set in ("choice", "minutes") else range(args.seeds)
    wanted = [(cell, seed) for seed in seeds for cell in SETS[args.set]]
    known: dict[bytes, torch.Tensor] = {}
    for place, (cell, seed) in enumerate(wanted):
        done = place % parts == part and any(line["seed"] == seed for line in runs_of(cell, read_lines(args.runs)))
        if place % parts != part or done:
            continue
        line = one_run(cell, seed, args.data, known)
        with args.runs.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = {name: line[column] and round(line[column], 3) for name, column in COLUMNS.items()}
        print(f"{args.set} seed {seed} {cell.name}: {shown}", flush=True)


def table(runs: list[dict[str, Any]], cells: list[Cell]) -> list[str]:
    """Markdown lines: mean and standard deviation over the seeds, in percent; minutes of what remembers nothing."""
    timed = all(not cell.remembered for cell in cells)
    lines = ["| arm | seeds | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    if timed:
        lines = ["| arm | minutes |", "|---|---|"]
    for cell in cells:
        found = runs_of(cell, runs)
        if not found:
            continue
        if timed:
            lines.append(f"| {cell.name} | {np.mean([line['minutes'] for line in found]):.1f} |")
            continue
        texts = []
        for column in COLUMNS.values():
            values = 100 * np.array([line[column] for line in found], float)
            texts.append(
                f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(found) > 1 else f"{values.mean():.1f}"
            )
        lines.append(f"| {cell.name} | {len(found)} | " + " | ".join(texts) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with waterbirds_100_train_validation")
    parser.add_argument("--set", default="main", choices=list(SETS), help="arms that are run")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--part", default="0/1", help="which of how many processes this is")
    parser.add_argument("--runs", type=Path, default=Path(__file__).with_suffix(".jsonl"), help="file of the runs")
    parser.add_argument("--table", action="store_true", help="print the tables of the file")
    args = parser.parse_args()
    if not args.table:
        if args.data is None:
            parser.error("give --data, or --table")
        return work(args)
    for name, cells in SETS.items():
        lines = table(read_lines(args.runs), cells)
        if len(lines) > 2:
            print(f"\n## {name}\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
