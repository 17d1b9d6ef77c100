"""Guide classifiers by boxes over a grid: model x attribution x layer x loss x weight x fraction x dilation (arXiv 2303.11932).

    python examples/run_model_guidance.py examples/model_guidance/digits.yaml
    python examples/run_model_guidance.py --models bcos --losses energy l1 --layers input --output_dir runs/bcos

A classifier of each model is trained without guidance, then fine-tuned once for every cell; the validation split is evaluated
after every epoch, and of the Pareto-optimal models the representative one (highest EPG at most 5 points of F1 below the
baseline) is tested. One row a run in <output_dir>/grid.csv, fronts in <output_dir>/fronts-*.png; stopped anywhere, a second
call goes on. Cells of loss "baseline" are not trained, those of loss "unguided" without guidance.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from guidance_grid import PLAIN, UNGUIDED, GridArguments, cells_of, check, guidance_of
from guided_classifiers import AXES, SCORES, Classifiers, DataArguments, read_json
from transformers import AutoModelForImageClassification, HfArgumentParser, set_seed
from transformers.utils import logging

from hf_guidance import Guidance, ParetoCheckpoints, Sweep, load_representative
from hf_guidance.analysis import pareto_figure
from hf_guidance.whole_file import whole_file


def run_cell(cell: dict[str, Any], classifiers: Classifiers, options: GridArguments) -> dict[str, Any]:
    """Train and test one cell; what a call before left half done is done again."""
    started = time.time()
    folder = folder_of(cell, options)
    shutil.rmtree(folder, ignore_errors=True)
    base, f1 = baseline(cell, classifiers, options)
    model, guidance = AutoModelForImageClassification.from_pretrained(base), guidance_of(cell)
    used = Guidance() if cell["loss"] in UNGUIDED else guidance
    trainer = classifiers.trainer(cell, model, used, folder, options.epochs, options.learning_rate,
                                  measured=next(iter(guidance.on_attributions.values())).objective.attribution)  # fmt: skip
    row = {"baseline_f1": f1, "step": 0}
    if cell["loss"] != "baseline":
        trainer.add_callback(ParetoCheckpoints(guidance=used))
        trainer.train()
        row |= classifiers.scores(trainer, cell, "test", "last_")
        try:
            chosen = load_representative(folder / "pareto", f1, options.max_drop)
        except ValueError as error:  # none within the drop: the row has no representative
            print(error, file=sys.stderr)
            return row | {"step": None, "seconds": time.time() - started}
        trainer.model.load_state_dict(AutoModelForImageClassification.from_pretrained(chosen).state_dict())
        row["step"] = int(chosen.name.removeprefix("step-"))
    row |= classifiers.scores(trainer, cell, "validation", "val_") | classifiers.scores(trainer, cell, "test", "test_")
    for left in (folder / "pareto").glob("step-*"):  # the representative stays; the metrics of all are in pareto.json
        if left.name != f"step-{row['step']}":
            shutil.rmtree(left)
    return row | {"seconds": time.time() - started}


def baseline(cell: dict[str, Any], classifiers: Classifiers, options: GridArguments) -> tuple[Path, float]:
    """The unguided model with the best validation F1, and that F1; trained once for a model and seed."""
    folder = Path(options.output_dir) / "baselines" / f"{cell['model']}-{cell['seed']}"
    record = folder / "f1.json"
    if not record.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        set_seed(cell["seed"])
        rate = read_json(options.baseline_learning_rates).get(cell["model"], options.baseline_learning_rate)
        model = classifiers.new_model(cell["model"])
        trainer = classifiers.trainer(cell, model, Guidance(), folder, options.baseline_epochs, rate, measured=None)
        trainer.add_callback(ParetoCheckpoints(metrics=("eval_f1",), bins=None))
        trainer.train()
        points = json.loads((folder / "pareto" / "pareto.json").read_text())
        best = next(point for point in points["points"] if point["step"] == points["members"][0])
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps({"f1": best["eval_f1"], "step": best["step"]}))
        os.replace(partial, record)
    kept = json.loads(record.read_text())
    return folder / "pareto" / f"step-{kept['step']}", kept["f1"]


def folder_of(cell: dict[str, Any], options: GridArguments) -> Path:
    return Path(options.output_dir) / "cells" / "-".join(f"{cell[axis]}" for axis in AXES)


def draw_fronts(rows: list[dict[str, Any]], options: GridArguments) -> None:
    """A picture for each model, attribution and layer, few and coarse boxes apart: the validation points of every loss.

    Weights and seeds are drawn together.
    """
    groups: dict[tuple[str, ...], dict[str, list[dict[str, float]]]] = {}
    base: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        kind = (row["model"], row["attribution"], row["layer"])
        if row["loss"] == "baseline":
            base.setdefault(kind, {name: row[f"val_{name}"] for name in ("f1", "epg", "attribution_iou")})
            continue
        other = [axis for axis, plain in PLAIN.items() if row[axis] != plain]
        kind, extra = (*kind, *other), [f"{axis} {row[axis]}" for axis in other]
        points = json.loads((folder_of(row, options) / "pareto" / "pareto.json").read_text())["points"]
        kept = [
            {k.removeprefix("eval_"): v for k, v in point.items()} for point in points if None not in point.values()
        ]
        if kept:
            groups.setdefault(kind, {}).setdefault(", ".join([row["loss"], *extra]), []).extend(kept)
    for kind, runs in groups.items():
        path = Path(options.output_dir) / f"fronts-{'-'.join(kind)}.png"
        pareto_figure(runs, path, baseline=base.get(kind[:3]), title=" ".join(kind))


def claim(folder: Path, settings: dict[str, str]) -> None:
    """Take an output folder for these settings: its baselines and fronts are of no others.

    Raises:
        ValueError: It holds a grid of other settings; names those that differ.
    """
    file = folder / "settings.json"
    known = json.loads(file.read_text()) if file.is_file() else settings
    if differ := sorted(name for name in known | settings if known.get(name) != settings.get(name)):
        raise ValueError(f"{folder} holds a grid with other values of {differ}; give another output_dir, or remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as draft:
        draft.write_text(json.dumps(settings, indent=1) + "\n")


def main() -> None:
    parser = HfArgumentParser((GridArguments, DataArguments))
    yaml = sys.argv[1] if len(sys.argv) == 2 and sys.argv[1].endswith((".yaml", ".yml")) else None
    options, data = parser.parse_yaml_file(yaml) if yaml else parser.parse_args_into_dataclasses()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    classifiers = Classifiers(data)
    shared = {name: str(value) for name, value in vars(data).items()}
    own = (
        "baseline_epochs",
        "baseline_learning_rate",
        "baseline_learning_rates",
        "epochs",
        "learning_rate",
        "max_drop",
    )
    shared |= {name: str(getattr(options, name)) for name in own}
    cells = cells_of(options)
    check(cells, options, classifiers)
    claim(Path(options.output_dir), shared)
    sweep = Sweep(Path(options.output_dir) / "grid.csv", settings=shared)

    def run(cell: dict[str, Any]) -> dict[str, Any]:
        row = run_cell(cell, classifiers, options)
        shown = {name: round(row[f"test_{name}"], 3) for name in SCORES[:4] if f"test_{name}" in row}
        print("-".join(str(value) for value in cell.values()), shown, f"{row['seconds']:.0f} s", flush=True)
        return row

    rows = sweep.run(cells, run)
    draw_fronts(rows, options)
    print(f"{len(rows)} rows in {sweep.file.name}, fronts-*.png beside it")


if __name__ == "__main__":
    main()
