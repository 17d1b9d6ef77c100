"""The runs of a grid: the baseline of each model, one cell after the other, and all of them with a line of a CSV each."""

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import set_seed

from hf_guidance.common.progress import say
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation import load_representative
from hf_guidance.evaluation.analysis.representative import NoRepresentative
from hf_guidance.guidance import Guidance
from hf_guidance.models import load_pruned
from hf_guidance.training.checkpoint_weights import load_weights
from hf_guidance.training.grid.arguments import DataArguments, GridArguments
from hf_guidance.training.grid.cells import attribution_of, cells_of, guidance_of
from hf_guidance.training.grid.checks import check_grid
from hf_guidance.training.grid.classifiers import SCORES, Classifiers
from hf_guidance.training.grid.options import check_numbers, read_json, setting
from hf_guidance.training.grid.output import claim, draw_fronts, folder_of, read_record
from hf_guidance.training.pareto_checkpoints import ParetoCheckpoints
from hf_guidance.training.sweep import Sweep

_SHARED = (
    "baseline_epochs",
    "baseline_learning_rate",
    "baseline_learning_rates",
    "epochs",
    "learning_rate",
    "max_drop",
)  # options that all cells of a grid share, with those of the data


def run_grid(options: GridArguments, data: DataArguments) -> list[dict[str, Any]]:
    """Train and test every cell of a grid that has no line in the CSV yet, and draw the fronts.

    All options are checked before anything is trained. Each finished run prints a line and adds a line to
    ``<output_dir>/grid.csv``; ended anywhere, even by a kill, a second call with the same options goes on.

    Args:
        options: The axes and the training.
        data: The data and the configurations of the models.

    Returns:
        The lines of the cells: their values, and their scores by name, None where a run has none.

    Raises:
        ValueError: Options that cannot be right, an output folder that holds a grid of other settings, or a damaged file
            in it.

    Example:
        >>> options = GridArguments(output_dir="runs/bcos", models=["bcos"], losses=["energy", "l1"], layers=["input"])
        >>> rows = run_grid(options, DataArguments(dataset="digits_on_photos"))
    """
    check_numbers(vars(options) | vars(data))
    classifiers = Classifiers(data)
    cells = cells_of(options)
    check_grid(cells, options, classifiers)
    settings = settings_of(options, classifiers)
    claim(Path(options.output_dir), settings)
    sweep = Sweep(Path(options.output_dir) / "grid.csv", settings=settings)

    def run(cell: dict[str, Any]) -> dict[str, Any]:
        row = run_cell(cell, classifiers, options)
        shown = {name: round(row[f"test_{name}"], 3) for name in SCORES[:4] if f"test_{name}" in row}
        say(f"{'-'.join(str(value) for value in cell.values())} {shown} {row['seconds']:.0f} s")
        return row

    rows = sweep.run(cells, run)
    draw_fronts(rows, sweep, options.output_dir)
    return rows


def settings_of(options: GridArguments, classifiers: Classifiers) -> dict[str, str]:
    """Give what all cells of a grid share, as text: lines and baselines of other settings are not of this grid.

    Args:
        options: The axes and the training.
        classifiers: The data and the models; a change of their raw files is another setting.

    Returns:
        Option to its value.
    """
    found = {name: setting(value) for name, value in vars(classifiers.data).items()}
    found |= {name: setting(getattr(options, name)) for name in _SHARED}
    return found | {"raw_files": classifiers.raw_files}


def run_cell(cell: dict[str, Any], classifiers: Classifiers, options: GridArguments) -> dict[str, Any]:
    """Train and test one cell; what an earlier call left half done is done again.

    Args:
        cell: A cell of ``cells_of``.
        classifiers: The data and the models.
        options: The training and the output folder.

    Returns:
        Scores of the representative on validation and test and of the last model on test, F1 of the baseline, the step of
        the representative (None, and no scores of one, where no model keeps enough F1), and the seconds of the run.

    Raises:
        ValueError: The record of the baseline or of the front is damaged.
    """
    started = time.time()
    folder = folder_of(cell, options.output_dir)
    shutil.rmtree(folder, ignore_errors=True)
    base, f1 = baseline(cell, classifiers, options)
    model, guidance, measured = (
        load_pruned(base),
        guidance_of(cell),
        attribution_of(cell),
    )
    trainer = classifiers.trainer(cell, model, guidance, folder, options.epochs, options.learning_rate, measured)
    row = {"baseline_f1": f1, "step": 0}
    if cell["loss"] != "baseline":
        trainer.add_callback(ParetoCheckpoints(guidance=guidance))
        trainer.train()
        row |= classifiers.scores(trainer, cell, "test", "last_")
        try:
            chosen = load_representative(folder / "pareto", f1, options.max_drop)
        except NoRepresentative as error:
            say(str(error), sys.stderr)
            return row | {"step": None, "seconds": time.time() - started}
        load_weights(trainer.model, chosen)
        row["step"] = int(chosen.name.removeprefix("step-"))
    row |= classifiers.scores(trainer, cell, "validation", "val_") | classifiers.scores(trainer, cell, "test", "test_")
    for left in (folder / "pareto").glob("step-*"):  # the representative stays; the metrics of all are in pareto.json
        if left.name != f"step-{row['step']}":
            shutil.rmtree(left)
    return row | {"seconds": time.time() - started}


def baseline(cell: Mapping[str, Any], classifiers: Classifiers, options: GridArguments) -> tuple[Path, float]:
    """Find the unguided model from which a cell starts; it is trained once for a model and seed.

    Args:
        cell: Its model and seed.
        classifiers: The data and the models.
        options: The training of baselines, and the output folder.

    Returns:
        The folder of the epoch with the best validation F1, and that F1 (0 to 1).

    Raises:
        ValueError: Its record is damaged, or its model was removed; says what to remove.
    """
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
        with whole_file(record) as draft:
            draft.write_text(json.dumps({"f1": best["eval_f1"], "step": best["step"]}))
    kept = read_record(record, ("f1", "step"), fix)
    chosen = folder / "pareto" / f"step-{kept['step']}"
    if not chosen.is_dir():
        raise ValueError(f"{chosen}, the baseline, was removed; {fix}.")
    return chosen, kept["f1"]
