"""The runs of a grid (`training/grid`): one for each line of its grid.csv, with the front in the folder of its cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_guidance.apps.report.files import MOST_JSON
from hf_guidance.apps.report.run import Run, front_in

TABLE = "grid.csv"
_PREFIX = "test_"


def is_grid(folder: Path) -> bool:
    """Whether a folder is the output_dir of a grid."""
    return (folder / TABLE).is_file()


def grid_runs(folder: Path) -> list[Run]:
    """Read the runs of a grid.

    Args:
        folder: The output_dir of the grid.

    Raises:
        ValueError: grid.csv is damaged, too large or of something else, or the record of a front is damaged.
    """
    from hf_guidance.training.grid.cells import AXES  # imported here: it loads the models

    file = folder / TABLE
    fix = "remove the line, and run_grid does the run again; or leave the grid out"
    try:
        if file.stat().st_size > MOST_JSON:
            raise ValueError(f"it has more than the {MOST_JSON} bytes that a report reads")
        lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read ({error}); {fix}.") from error
    if not lines or (missing := [axis for axis in AXES if axis not in lines[0]]):
        raise ValueError(f"{file} is no table of a grid: it lacks {missing if lines else 'lines'}; {fix}.")
    if wrong := next((number for number, line in enumerate(lines, 2) if None in line or None in line.values()), None):
        raise ValueError(f"{file}, line {wrong}: it has another number of values than there are columns; {fix}.")
    return [_run(folder, line, AXES, f"{file}, line {number}", fix) for number, line in enumerate(lines, 2)]


def _run(folder: Path, line: Mapping[str, str], axes: tuple[str, ...], where: str, fix: str) -> Run:
    cell = {axis: line[axis] for axis in axes}
    place = folder / "cells" / "-".join(cell.values())
    try:
        seed, share, moved, weight = (
            int(cell["seed"]),
            float(cell["fraction"]),
            int(cell["moved"]),
            float(cell["weight"]),
        )
        metrics = {name: float(value) for name, value in line.items() if name.startswith(_PREFIX) and value}
    except ValueError as error:
        raise ValueError(f"{where}: {error}; {fix}.") from error
    loss, unguided = cell["loss"], cell["loss"] in ("baseline", "unguided")
    guidance: dict[str, Any] = {} if unguided else {loss: {"type": loss, "weight": weight, "layer": cell["layer"]}}
    shown = [cell[axis] for axis in ("model", "attribution", "layer", "loss")] + ([] if unguided else [cell["weight"]])
    return Run(
        place,
        metrics=metrics,
        guidance=guidance,
        seed=seed,
        control=bool(moved),
        share=None if unguided else share,
        settings={"model": cell["model"]},
        front=front_in(place / "pareto"),
        name=" ".join(shown),
        identity={**{axis: cell[axis] for axis in axes if axis != "seed"}, "grid": str(folder)},
    )
