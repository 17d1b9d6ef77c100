"""Real Waterbirds with a pretrained network: which guidance helps the worst group, and does it matter where the boxes lie?

    python tests/studies/waterbirds_photos.py --data DATA [--set main ...] [--seeds 3] [--runs FILE]
    python tests/studies/waterbirds_photos.py --table
    python tests/studies/waterbirds_photos.py --page docs/waterbirds.md

DATA is a folder with waterbirds_100_train_validation: in training landbirds are always on land and waterbirds always on water.
Runs examples/run_waterbirds.py for every arm and seed and adds a line to FILE, by default waterbirds_photos.jsonl beside this
script, after each, so that a study can be stopped, continued and shared by several processes (`--part 0/2`). `--set choice`
measures one seed on the first half of the validation rows, by which settings were chosen: those of the best worst group, then
of the best mean group, which `--chosen` prints; other sets measure on the second half. `--table` prints means and standard
deviations over the seeds, and `--page FILE` writes them below the comments of a page that name their sets; neither needs
photographs.

What the frozen part of the network gives for a photograph is computed once and remembered, which changes no figure; minutes
are measured by `--set minutes`, which remembers nothing.
"""

import argparse
import json
import re
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import numpy as np
import torch
from remembered import remember_blocks, remembered_photos
from run_waterbirds import Run, WaterbirdsArguments
from waterbirds_cells import CHOICES, SETS, STAGES, Cell, used

from hf_guidance.families import family_of

FOLDER = "waterbirds_100_train_validation"
COLUMNS = {"worst": "worst_group_accuracy", "mean": "mean_group_accuracy", "EPG": "epg", "dead": "second/epg_undefined_share",
           "rrr_suff": "rrr_suff", "rrr_inv": "rrr_inv", "rrr_inv, blur": "second/rrr_inv"}  # fmt: skip


@dataclass
class Known:
    """What is remembered from run to run."""

    blocks: dict[int, dict[bytes, torch.Tensor]] = field(default_factory=dict)
    decoded: dict[Any, Any] = field(default_factory=dict)
    processed: dict[Any, torch.Tensor] = field(default_factory=dict)
    pixels: int | None = None

    def of(self, pixels: int) -> Self:
        """What holds for images of this size; of another size all but the files is forgotten."""
        if pixels != self.pixels:
            self.blocks.clear()
            self.processed.clear()
            self.pixels = pixels
        return self


def remember_frozen(run: Run, known: dict[int, dict[bytes, torch.Tensor]]) -> None:
    """Compute once what comes before the layers that a run explains; ``known`` is by number of stages."""
    stages = STAGES.get(run.options.method, len(run.model.timm_model.blocks))
    if stages:
        family_of(run.model).head_at("final")
        remember_blocks(run.model, known.setdefault(stages, {}), stages)


def one_run(cell: Cell, seed: int, data: Path, known: Known) -> dict[str, Any]:
    """Train and measure one cell."""
    with tempfile.TemporaryDirectory() as folder:
        options = WaterbirdsArguments(
            str(data / FOLDER), cell.method, folder, seed=seed, boxes=cell.boxes, random_boxes=cell.random_boxes,
            task=cell.task, trained=cell.trained, weight=cell.weight, learning_rate=cell.learning_rate, half=cell.half,
            replace=cell.replace, image_size=cell.image_size, schedule=cell.schedule,
        )  # fmt: skip
        if cell.weight_decay is not None:
            options.weight_decay = cell.weight_decay
        known = known.of(cell.image_size)
        with remembered_photos(known.decoded, known.processed) if cell.remembered else nullcontext():
            run = Run(options)
            if cell.remembered and cell.trained == "head":
                remember_frozen(run, known.blocks)
            results = run()
    own = {"cell": vars(cell), "used": used(cell), "seed": seed}
    measured = results["validation"]
    second = {f"second/{name}": value for name, value in measured.pop("second").items()}
    return {**own, "minutes": results["minutes"], **measured, **second}


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def runs_of(cell: Cell, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of a cell."""
    return [line for line in runs if line["cell"] == vars(cell) and line["used"] == used(cell)]


def wanted(names: list[str], seeds: int) -> list[tuple[str, int, Cell]]:
    """The runs of some sets; what is chosen or timed has one seed."""
    one = {name for name in names if name.startswith("choice") or name == "minutes"}
    return [(name, seed, cell) for name in names for seed in range(1 if name in one else seeds) for cell in SETS[name]]


def work(args: argparse.Namespace) -> None:
    """Run what the file lacks."""
    part, parts = map(int, args.part.split("/"))
    known = Known()
    for place, (name, seed, cell) in enumerate(wanted(args.set, args.seeds)):
        done = place % parts == part and any(line["seed"] == seed for line in runs_of(cell, read_lines(args.runs)))
        if place % parts != part or done:
            continue
        line = one_run(cell, seed, args.data, known)
        with args.runs.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = {title: line[column] and round(line[column], 3) for title, column in COLUMNS.items()}
        print(f"{name} seed {seed} {cell.name}: {shown}", flush=True)


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
            if any(column not in line for line in found):  # of a study before this was measured
                texts.append("")
                continue
            values = 100 * np.array([line[column] for line in found], float)
            texts.append(
                f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(found) > 1 else f"{values.mean():.1f}"
            )
        lines.append(f"| {cell.name} | {len(found)} | " + " | ".join(texts) + " |")
    return lines


def gains(runs: list[dict[str, Any]], cells: list[Cell]) -> list[str]:
    """Markdown lines: by how much each arm's worst group exceeds that of its control, in points: mean, and for each seed."""
    lines = []
    for cell in cells:
        worst = [
            {
                line["seed"]: 100 * line["worst_group_accuracy"]
                for line in runs_of(replace(cell, random_boxes=moved), runs)
            }
            for moved in (False, True)
        ]
        if not cell.random_boxes and worst[1]:
            found = [worst[0][seed] - worst[1][seed] for seed in sorted(worst[0].keys() & worst[1].keys())]
            each = ", ".join(f"{value:+.1f}" for value in found)
            lines.append(f"| {cell.name} | {np.mean(found):+.1f} | {each} |")
    return ["| worst group, boxes less random boxes | mean | seeds 0, 1, 2 |", "|---|---|---|", *lines]


def choice_table(runs: list[dict[str, Any]], cells: list[Cell]) -> list[str]:
    """Markdown lines: worst group by weight and rate, in percent, of one seed."""
    worst = {cell: 100 * line["worst_group_accuracy"] for cell in cells for line in runs_of(cell, runs)}
    rates = sorted({cell.learning_rate for cell in worst})
    lines = [
        "| method | weight | " + " | ".join(f"rate {rate:g}" for rate in rates) + " |",
        "|---|---|" + "---|" * len(rates),
    ]
    for method, weight in dict.fromkeys((cell.method, cell.weight) for cell in worst):
        of = {
            cell.learning_rate: value for cell, value in worst.items() if (cell.method, cell.weight) == (method, weight)
        }
        texts = [f"{of[rate]:.1f}" if rate in of else "" for rate in rates]
        lines.append(f"| {method} | {'' if weight is None else f'{weight:g}'} | " + " | ".join(texts) + " |")
    return lines


def all_tables(runs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """By "table: SET" and "gains: SET" the lines of these tables, where there are runs."""
    found = {}
    for name, cells in SETS.items():
        found[f"table: {name}"] = choice_table(runs, cells) if name.startswith("choice") else table(runs, cells)
        found[f"gains: {name}"] = gains(runs, cells)
    return {name: lines for name, lines in found.items() if len(lines) > 2}


def with_tables(page: str, tables: dict[str, list[str]]) -> str:
    """A page with these tables below its comments `<!-- table: SET -->` and `<!-- gains: SET -->`."""
    place = re.compile(r"(<!-- (\w+: \w+) -->\n)(?:\|.*\n)*")
    return place.sub(lambda found: found[1] + "".join(f"{line}\n" for line in tables[found[2]]), page)


def chosen(runs: list[dict[str, Any]], cells: list[Cell]) -> dict[tuple[str, str], tuple[float, float]]:
    """By task and method, weight and rate of the best worst group, then mean group, on the first half."""
    found: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for cell in cells:
        for line in runs_of(cell, runs):
            score = line["worst_group_accuracy"], line["mean_group_accuracy"]
            found.setdefault((cell.task, cell.method), []).append((*score, *line["used"].values()))
    return {name: max(values)[2:] for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with waterbirds_100_train_validation")
    parser.add_argument("--set", nargs="+", default=["main"], choices=list(SETS), help="arms that are run")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--part", default="0/1", help="which of how many processes this is")
    parser.add_argument("--runs", type=Path, default=Path(__file__).with_suffix(".jsonl"), help="file of the runs")
    parser.add_argument("--table", action="store_true", help="print the tables of the file")
    parser.add_argument("--page", type=Path, help="write the tables into this page")
    parser.add_argument("--chosen", action="store_true", help="print the settings that were best on the first half")
    args = parser.parse_args()
    if args.chosen:
        for (task, method), (weight, rate) in chosen(read_lines(args.runs), CHOICES).items():
            print(f"{task} {method}: weight {weight:g}, rate {rate:g}")
        return None
    if args.page:
        tables = all_tables(read_lines(args.runs))
        args.page.write_text(with_tables(args.page.read_text(encoding="utf-8"), tables), encoding="utf-8")
        return None
    if not args.table:
        if args.data is None:
            parser.error("give --data, --table or --page")
        return work(args)
    for name, lines in all_tables(read_lines(args.runs)).items():
        print(f"\n## {name}\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
