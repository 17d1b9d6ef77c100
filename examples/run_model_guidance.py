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

from guidance_grid import UNGUIDED, GridArguments, cells_of, check, guidance_of
from guidance_options import check_numbers, parsed, read_json, setting
from guidance_output import claim, draw_fronts, folder_of, read_record
from guided_classifiers import SCORES, Classifiers, DataArguments
from transformers import AutoModelForImageClassification, set_seed
from transformers.utils import logging

from hf_guidance import Guidance, ParetoCheckpoints, Sweep, load_representative
from hf_guidance.evaluation.analysis import NoRepresentative


def run_cell(cell: dict[str, Any], classifiers: Classifiers, options: GridArguments) -> dict[str, Any]:
    """Train and test one cell; what a call before left half done is done again."""
    started = time.time()
    folder = folder_of(cell, options.output_dir)
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
        except NoRepresentative as error:  # none within the drop: the row has no scores of one
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
    record, fix = folder / "f1.json", f"remove {folder}, and the next call trains this baseline again"
    if not record.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        set_seed(cell["seed"])
        rate = read_json(options.baseline_learning_rates).get(cell["model"], options.baseline_learning_rate)
        model = classifiers.new_model(cell["model"])
        trainer = classifiers.trainer(cell, model, Guidance(), folder, options.baseline_epochs, rate, measured=None)
        trainer.add_callback(ParetoCheckpoints(metrics=("eval_f1",), bins=None))
        trainer.train()
        points = read_record(folder / "pareto" / "pareto.json", ("points", "members"), fix)
        best = next(point for point in points["points"] if point["step"] == points["members"][0])
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps({"f1": best["eval_f1"], "step": best["step"]}))
        os.replace(partial, record)
    kept = read_record(record, ("f1", "step"), fix)
    chosen = folder / "pareto" / f"step-{kept['step']}"
    if not chosen.is_dir():
        raise ValueError(f"{chosen}, the baseline, was removed; {fix}.")
    return chosen, kept["f1"]


def main() -> None:
    options, data = parsed(sys.argv[1:], (GridArguments, DataArguments))
    check_numbers(vars(options) | vars(data))
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    classifiers = Classifiers(data)
    shared = {name: setting(value) for name, value in vars(data).items()}
    own = (
        "baseline_epochs",
        "baseline_learning_rate",
        "baseline_learning_rates",
        "epochs",
        "learning_rate",
        "max_drop",
    )
    shared |= {name: setting(getattr(options, name)) for name in own} | {"raw_files": classifiers.raw_files}
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
    draw_fronts(rows, sweep, options.output_dir)
    print(f"{len(rows)} rows in {sweep.file.name}, fronts-*.png beside it")


if __name__ == "__main__":
    main()
